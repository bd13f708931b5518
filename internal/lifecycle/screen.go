package lifecycle

import (
	"io"
	"os"
	"strings"
	"sync"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Screen is standard error. On a terminal its last line says how far something is while that
// is shown, and what is logged goes above it. It is safe for concurrent use, but for Show.
type Screen struct {
	to    io.Writer
	width func() int // of the terminal; nil: it is none
	bar   *progressbar.ProgressBar

	mu   sync.Mutex
	last string // what the last line shows; "": nothing
}

// barSteps are the steps that a bar is divided into. It never shows all: a full one
// would be over, while what is shown may still grow.
const barSteps = 1000

// clearLine takes the last line away.
const clearLine = "\r\x1b[K"

// NewScreen makes a screen of what it writes to, which is a terminal or not.
func NewScreen(to io.Writer) *Screen {
	if !IsTerminal(to) {
		return &Screen{to: to}
	}
	fd := int(to.(*os.File).Fd()) // files have small numbers
	return NewTerminal(to, func() int {
		if width, _, err := term.GetSize(fd); err == nil && width > 0 {
			return width
		}
		return 80 // it does not say
	})
}

// IsTerminal reports whether somebody watches what is written.
func IsTerminal(to io.Writer) bool {
	file, ok := to.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// NewTerminal makes a screen of a terminal of a width.
func NewTerminal(to io.Writer, width func() int) *Screen {
	return &Screen{to: to, width: width, bar: progressbar.NewOptions(barSteps,
		progressbar.OptionSetWriter(io.Discard), // it is only asked what it looks like
		progressbar.OptionSetWidth(10),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionShowDescriptionAtLineEnd(),
	)}
}

// Terminal reports whether anything can be shown.
func (s *Screen) Terminal() bool { return s.width != nil }

// Write writes whole lines, above what is shown.
func (s *Screen) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == "" {
		return s.to.Write(lines)
	}
	if _, err := io.WriteString(s.to, clearLine+string(lines)+s.last); err != nil {
		return 0, err
	}
	return len(lines), nil
}

// Show shows how much is done, from 0 to 1, in a bar and a text; without the bar when it is
// less than 0: nobody knows. Nobody calls it twice at a time.
func (s *Screen) Show(done float64, text string) {
	if done >= 0 {
		_ = s.bar.Set(min(int(done*barSteps), barSteps-1))
		s.bar.Describe(text)
		text = strings.Trim(s.bar.String(), "\r ")
	}
	line := []rune(text)
	if most := max(s.width()-1, 0); len(line) > most {
		line = line[:most]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = string(line)
	_, _ = io.WriteString(s.to, clearLine+s.last)
}

// Clear takes away what is shown.
func (s *Screen) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != "" {
		_, _ = io.WriteString(s.to, clearLine)
		s.last = ""
	}
}
