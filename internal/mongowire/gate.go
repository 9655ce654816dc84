package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
)

// gate lets commands through to the database one at a time.
type gate struct {
	behind string // address of the database
	one    sync.Mutex
}

// serve accepts connections until l is closed.
func (g *gate) serve(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer client.Close()
			server, err := net.Dial("tcp", g.behind)
			if err != nil {
				return // the client sees its connection close
			}
			defer server.Close()
			for g.pass(client, server) == nil {
			}
		}()
	}
}

// pass takes one command to the database and its answer back.
func (g *gate) pass(client, server net.Conn) error {
	command, err := readMessage(client)
	if err != nil {
		return err
	}
	g.one.Lock()
	defer g.one.Unlock()
	if _, err := server.Write(command); err != nil {
		return err
	}
	if !answered(command) {
		return nil
	}
	answer, err := readMessage(server)
	if err != nil {
		return err
	}
	_, err = client.Write(answer)
	return err
}

// The wire protocol: every message begins with its length and, at byte 12,
// its kind; one of kind opMessage has flags at byte 16.
const (
	headerSize     = 16
	maxMessage     = 48 << 20
	opMessage      = 2013
	flagMoreToCome = 1 << 1 // the sender expects no answer
)

func readMessage(r io.Reader) ([]byte, error) {
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(header)
	if size < headerSize || size > maxMessage+headerSize {
		return nil, errors.New("a message of impossible size")
	}
	message := append(header, make([]byte, size-headerSize)...)
	_, err := io.ReadFull(r, message[headerSize:])
	return message, err
}

func answered(message []byte) bool {
	if binary.LittleEndian.Uint32(message[12:]) != opMessage || len(message) < headerSize+4 {
		return true
	}
	return binary.LittleEndian.Uint32(message[headerSize:])&flagMoreToCome == 0
}
