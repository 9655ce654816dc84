package cloudapitest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// backlog remembers in a file which updates are owed, so that a pretend Meta
// that dies with its app still tells it everything after the next start. The
// file is written, not fsynced: it survives the process, not the machine.
// A nil backlog remembers nothing.
type backlog struct {
	mu   sync.Mutex
	file *os.File
	next int
}

// owedLine is one line of the file: an update that is owed, or (Told) the id
// of one that is owed no more.
type owedLine struct {
	ID     int             `json:"id,omitempty"`
	Number domain.NumberID `json:"number,omitempty"`
	Due    time.Time       `json:"due,omitzero"`
	Status bool            `json:"status,omitempty"`
	Body   string          `json:"body,omitempty"` // verbatim, as it was encoded
	Told   int             `json:"told,omitempty"`
}

// openBacklog reads what is owed, in order, and starts the file anew with it.
func openBacklog(path string) (*backlog, []owedLine, error) {
	owed, err := readBacklog(path)
	if err != nil {
		return nil, nil, err
	}
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open backlog: %w", err)
	}
	b := &backlog{file: file}
	for i := range owed {
		if owed[i].ID, err = b.owe(owed[i]); err != nil {
			return nil, nil, errors.Join(err, file.Close())
		}
	}
	if err := os.Rename(path+".new", path); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("replace backlog: %w", err), file.Close())
	}
	return b, owed, nil
}

func readBacklog(path string) ([]owedLine, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read backlog: %w", err)
	}
	defer file.Close()
	var all []owedLine
	told := map[int]bool{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 2*maxBody)
	for lines.Scan() {
		var l owedLine
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			continue // the last line of a process that was killed while writing it
		}
		if l.Told != 0 {
			told[l.Told] = true
		} else {
			all = append(all, l)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read backlog: %w", err)
	}
	var owed []owedLine
	for _, l := range all {
		if !told[l.ID] {
			owed = append(owed, l)
		}
	}
	return owed, nil
}

// owe records an update and returns its id.
func (b *backlog) owe(l owedLine) (int, error) {
	if b == nil {
		return 0, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	l.ID = b.next
	return b.next, b.write(l)
}

// told records that an update was taken, or given up.
func (b *backlog) told(id int) error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.write(owedLine{Told: id})
}

func (b *backlog) write(l owedLine) error {
	line, err := json.Marshal(l)
	if err == nil {
		_, err = b.file.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write backlog: %w", err)
	}
	return nil
}

func (b *backlog) close() error {
	if b == nil {
		return nil
	}
	return b.file.Close()
}
