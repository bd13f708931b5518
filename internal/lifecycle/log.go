package lifecycle

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// LogConfig is how a command logs.
type LogConfig struct {
	// Format is "json" or "text".
	Format string
	// Level is the least level that is logged: "debug", "info", "warn" or "error".
	Level string
}

// DefaultLogConfig logs JSON from the level info on.
func DefaultLogConfig() LogConfig { return LogConfig{Format: "json", Level: "info"} }

// Register binds the settings to --log-format and --log-level.
func (c *LogConfig) Register(f *Flags) {
	f.String(&c.Format, "log-format", "How log lines look: json or text.")
	f.String(&c.Level, "log-level", "The least level that is logged: debug, info, warn or error.")
}

// Validate reports everything that is wrong with the configuration.
func (c LogConfig) Validate() error {
	var errs []error
	if c.Format != "json" && c.Format != "text" {
		errs = append(errs, fmt.Errorf("log format %q: expected json or text", c.Format))
	}
	if _, err := c.level(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c LogConfig) level() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return 0, fmt.Errorf("log level %q: expected debug, info, warn or error", c.Level)
	}
	return level, nil
}

// NewLogger makes the logger that a valid configuration describes.
func NewLogger(c LogConfig, w io.Writer) *slog.Logger {
	level, err := c.level()
	if err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: readable}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// readable writes a duration as text, as 1m30s: a number does not say of what.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}
