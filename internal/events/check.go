package events

import (
	"fmt"
	"strconv"
)

// checkBody checks each field of the body by its own rules, in the order of
// its spec: first type and presence, then size, then content.
func (r *rawEvent) checkBody(limits *Limits) *Error {
	spec := r.spec
	if r.notObject != "" {
		return &Error{Code: CodeInvalidField, Field: spec.name, Reason: "is " + r.notObject + ", expected a JSON object"}
	}
	total := 0
	for i := range spec.fields {
		f := &spec.fields[i]
		v := &r.values[f.key]
		switch v.state {
		case absent:
			if f.required {
				return r.missing(f)
			}
			continue
		case wrong:
			return r.wrongType(f, v)
		case present:
		}
		if err := r.checkField(f, v, limits); err != nil {
			return err
		}
		if f.kind == kindText && f.rule != ruleID {
			total += len(v.text)
		}
	}
	for _, pair := range r.pairs {
		total += len(pair.Key) + len(pair.Value)
	}
	if spec.profile && total > limits.ProfileBytes {
		return &Error{
			Code:   CodeTooLarge,
			Field:  spec.name,
			Reason: fmt.Sprintf("is a profile of %d bytes, expected at most %d", total, limits.ProfileBytes),
		}
	}
	return nil
}

// checkField checks a value that is there and of the right type.
func (r *rawEvent) checkField(f *field, v *rawValue, limits *Limits) *Error {
	switch f.kind {
	case kindText:
		if f.limit != nil && len(v.text) > f.limit(limits) {
			return r.tooLarge(f, len(v.text), f.limit(limits))
		}
		return r.checkText(f, v.text)
	case kindInt, kindUint32:
		if v.num < f.min || v.num > f.max {
			return r.invalid(f, fmt.Sprintf("is %d, expected %s", v.num, f.expectedInt()))
		}
	case kindTime:
		switch {
		case v.nanos < 0 || v.nanos > maxNanos:
			return r.invalid(f, nanosReason(v.nanos))
		case v.num < minSeconds || v.num > maxSeconds:
			return r.invalid(f, "is "+shownTime(v.num, v.nanos)+", expected "+expectedTime)
		}
	case kindObject:
		if len(r.payload) > f.limit(limits) {
			return r.tooLarge(f, len(r.payload), f.limit(limits))
		}
		if depth := depthOf(r.payload); depth > maxPayloadDepth {
			return r.invalid(f, fmt.Sprintf("nests %d deep, expected at most %d", depth, maxPayloadDepth))
		}
	case kindTexts, kindInts, kindKeyValues:
		return r.checkList(f, limits)
	case kindBool:
	}
	return nil
}

// checkText checks the content of a text that is there.
func (r *rawEvent) checkText(f *field, s string) *Error {
	switch f.rule {
	case ruleID:
		if !ValidID(s) {
			return r.invalid(f, "is "+shown(s)+", expected "+expectedID)
		}
	case ruleConversationID:
		if _, _, ok := SplitConversationID(s); !ok {
			return &Error{
				Code: CodeInvalidAddress, Field: r.path(f),
				Reason: "is " + shown(s) + ", expected " + expectedConversationID,
			}
		}
	case ruleNone, ruleMention, ruleNotEmpty:
	}
	if len(f.oneOf) == 0 {
		return nil
	}
	for _, value := range f.oneOf {
		if s == value {
			return nil
		}
	}
	return r.invalid(f, "is "+shown(s)+", expected "+f.expected())
}

// checkList checks the length of the body's list and its entries.
func (r *rawEvent) checkList(f *field, limits *Limits) *Error {
	if n := len(r.texts) + len(r.ints) + len(r.nulls); f.entries != nil && n > f.entries(limits) {
		return &Error{
			Code: CodeTooLarge, Field: r.path(f),
			Reason: fmt.Sprintf("has %d entries, expected at most %d", n, f.entries(limits)),
		}
	}
	for i, s := range r.texts {
		switch {
		case f.limit != nil && len(s) > f.limit(limits):
			return r.entryTooLarge(f, i, "", len(s), f.limit(limits))
		case f.rule == ruleMention && s != "" && !ValidID(s), f.rule == ruleNotEmpty && s == "":
			return r.invalidEntry(f, r.place(i), shown(s))
		}
	}
	for i, n := range r.ints {
		if n < f.min || n > f.max {
			return r.invalidEntry(f, r.place(i), strconv.FormatInt(n, 10))
		}
	}
	for i, pair := range r.pairs {
		if n := len(pair.Key); n > f.limit(limits) {
			return r.entryTooLarge(f, i, ".key", n, f.limit(limits))
		}
		if n := len(pair.Value); n > f.limit(limits) {
			return r.entryTooLarge(f, i, ".value", n, f.limit(limits))
		}
	}
	return nil
}

// path is where the field is, for an error.
func (r *rawEvent) path(f *field) string {
	if f.key <= keyTime { // of the event itself
		return fieldNames[f.key]
	}
	return r.spec.name + "." + fieldNames[f.key]
}

func (r *rawEvent) missing(f *field) *Error {
	return &Error{Code: CodeMissingField, Field: r.path(f), Reason: "is missing, expected " + f.expected()}
}

func (r *rawEvent) invalid(f *field, reason string) *Error {
	return &Error{Code: CodeInvalidField, Field: r.path(f), Reason: reason}
}

func (r *rawEvent) invalidEntry(f *field, entry int, value string) *Error {
	return &Error{
		Code:   CodeInvalidField,
		Field:  fmt.Sprintf("%s[%d]", r.path(f), entry),
		Reason: "is " + value + ", expected " + f.expectedEntry(),
	}
}

func (r *rawEvent) wrongType(f *field, v *rawValue) *Error {
	if v.num >= 0 {
		return r.invalidEntry(f, int(v.num), v.text)
	}
	return r.invalid(f, "is "+v.text+", expected "+f.expected())
}

func (r *rawEvent) tooLarge(f *field, size, limit int) *Error {
	return &Error{
		Code: CodeTooLarge, Field: r.path(f),
		Reason: fmt.Sprintf("is %d bytes, expected at most %d", size, limit),
	}
}

func (r *rawEvent) entryTooLarge(f *field, entry int, member string, size, limit int) *Error {
	return &Error{
		Code:   CodeTooLarge,
		Field:  fmt.Sprintf("%s[%d]%s", r.path(f), r.place(entry), member),
		Reason: fmt.Sprintf("is %d bytes, expected at most %d", size, limit),
	}
}
