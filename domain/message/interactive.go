package message

var interactiveRule rule = anyObject
