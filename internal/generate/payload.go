package generate

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// element is a type of message besides plain text, and how often it comes.
type element struct {
	name  string
	share float64
	// make gives the payload, and the preview where it is not the type's own.
	make func(w *world) (payload []byte, preview string)
}

var elements = []element{
	{"TIMImageElem", 0.055, (*world).image},
	{"TIMFaceElem", 0.03, func(w *world) ([]byte, string) {
		return object("index", w.rng.IntN(40), "data", "tt"+strconv.Itoa(w.rng.IntN(40))), ""
	}},
	{"TIMSoundElem", 0.02, func(w *world) ([]byte, string) {
		return object("url", w.file("voice", "m4a"), "second", 1+w.rng.IntN(58), "size", 2000+w.rng.IntN(90000)), ""
	}},
	{"TIMVideoFileElem", 0.012, func(w *world) ([]byte, string) {
		return object("videoUrl", w.file("video", "mp4"), "videoSecond", 3+w.rng.IntN(200), "videoSize", 200000+w.rng.IntN(9000000), "thumbUrl", w.file("thumb", "jpg")), ""
	}},
	{"TIMFileElem", 0.015, func(w *world) ([]byte, string) {
		return object("fileName", pick(w.Generator, files), "fileSize", 900+w.rng.IntN(4000000), "fileUrl", w.file("file", "bin")), ""
	}},
	{"TIMLocationElem", 0.007, func(w *world) ([]byte, string) {
		return object("description", pick(w.Generator, places), "latitude", w.degrees(90), "longitude", w.degrees(180)), ""
	}},
	{"TIMCustomElem", 0.008, (*world).custom},
	{"TIMRelayElem", 0.004, func(w *world) ([]byte, string) {
		return object("title", "Chat history", "abstractList", []string{pick(w.Generator, abstracts), pick(w.Generator, abstracts)}, "layersOverLimit", false), ""
	}},
	// A type that nobody knows, as newer clients send it.
	{"TIMPollElem", 0.002, func(w *world) ([]byte, string) {
		title := pick(w.Generator, polls)
		return object("title", title, "options", []string{"Yes", "No", "Maybe"}), "[Poll] " + title
	}},
}

func (w *world) image() ([]byte, string) {
	width, height := 640+w.rng.IntN(2400), 480+w.rng.IntN(1800)
	return fmt.Appendf(nil, `{"uuid":"%08x","imageFormat":1,"imageInfoArray":[{"type":1,"size":%d,"width":%d,"height":%d,"url":"%s"}]}`,
		w.rng.Uint32(), 40000+w.rng.IntN(2000000), width, height, w.file("image", "jpg")), ""
}

// custom is a call or an order; sometimes it is longer than a list shows.
func (w *world) custom() ([]byte, string) {
	if w.chance(0.2) {
		return object("data", "order", "description", strings.Repeat("1 × "+pick(w.Generator, foods)+"; ", 80), "extension", ""), "[Order]"
	}
	if w.chance(0.5) {
		return object("data", "call", "description", "Voice call", "extension", ""), "📞 Call, " + strconv.Itoa(1+w.rng.IntN(50)) + " min"
	}
	return object("data", "gift", "description", "A small gift", "extension", ""), ""
}

func (w *world) file(kind, ext string) string {
	return "https://example.com/" + kind + "/" + strconv.FormatUint(uint64(w.rng.Uint32()), 36) + "." + ext
}

func (w *world) degrees(limit float64) float64 {
	return float64(int((w.rng.Float64()*2-1)*limit*1e4)) / 1e4
}

func textPayload(text string) []byte { return object("text", text) }

// object is a compact JSON object of names and values in turn.
func object(pairs ...any) []byte {
	b := make([]byte, 0, 96)
	b = append(b, '{')
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, pairs[i].(string))
		b = append(b, ':')
		switch v := pairs[i+1].(type) {
		case string:
			b = appendQuoted(b, v)
		case int:
			b = strconv.AppendInt(b, int64(v), 10)
		case float64:
			b = strconv.AppendFloat(b, v, 'f', -1, 64)
		case bool:
			b = strconv.AppendBool(b, v)
		case []string:
			b = append(b, '[')
			for j, s := range v {
				if j > 0 {
					b = append(b, ',')
				}
				b = appendQuoted(b, s)
			}
			b = append(b, ']')
		default:
			panic(fmt.Sprintf("generate: %T in a payload", v))
		}
	}
	return append(b, '}')
}

// appendQuoted appends a text without control characters as a JSON string.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if c := s[i]; c < utf8.RuneSelf && (c == '"' || c == '\\') {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }
