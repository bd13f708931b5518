package events

import "time"

// parseRFC3339 gives the seconds since 1970 and the nanoseconds, which always
// count forward. It takes any offset, t and z in lower case, a fraction of any
// length (cut after the nanosecond), and 60 seconds where a leap second can be:
// before midnight UTC at a month's end; it is the next day's first second.
func parseRFC3339(s string) (seconds int64, nanos int32, ok bool) {
	const layout = "0000-00-00T00:00:00"
	if len(s) <= len(layout) || s[4] != '-' || s[7] != '-' || s[10]|0x20 != 't' || s[13] != ':' || s[16] != ':' {
		return 0, 0, false
	}
	year, ok1 := digits(s[0:4])
	month, ok2 := digits(s[5:7])
	day, ok3 := digits(s[8:10])
	hour, ok4 := digits(s[11:13])
	minute, ok5 := digits(s[14:16])
	second, ok6 := digits(s[17:19])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || hour > 23 || minute > 59 || second > 60 {
		return 0, 0, false
	}
	rest := s[len(layout):]
	if rest[0] == '.' {
		n := 1
		for scale := int32(100_000_000); n < len(rest) && isDigit(rest[n]); n++ {
			nanos += int32(rest[n]-'0') * scale
			scale /= 10
		}
		if n == 1 {
			return 0, 0, false
		}
		rest = rest[n:]
	}
	offset, ok := parseOffset(rest)
	if !ok {
		return 0, 0, false
	}
	// time.Date normalises a 31 February to March: a date that moved was none.
	date := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if y, m, d := date.Date(); y != year || int(m) != month || d != day {
		return 0, 0, false
	}
	seconds = date.Unix() + int64(hour*3600+minute*60+second-offset)
	if second == 60 {
		if t := time.Unix(seconds, 0).UTC(); seconds%86400 != 0 || t.Day() != 1 {
			return 0, 0, false
		}
	}
	return seconds, nanos, true
}

// parseOffset gives the seconds that a local time is ahead of UTC.
func parseOffset(s string) (seconds int, ok bool) {
	if len(s) == 1 {
		return 0, s[0]|0x20 == 'z'
	}
	if len(s) != len("+00:00") || (s[0] != '+' && s[0] != '-') || s[3] != ':' {
		return 0, false
	}
	hours, ok1 := digits(s[1:3])
	minutes, ok2 := digits(s[4:6])
	if !ok1 || !ok2 || hours > 23 || minutes > 59 {
		return 0, false
	}
	seconds = hours*3600 + minutes*60
	if s[0] == '-' {
		seconds = -seconds
	}
	return seconds, true
}

// digits is the number that s, all digits, writes.
func digits(s string) (n int, ok bool) {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
