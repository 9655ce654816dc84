package message

var template rule = anyObject
