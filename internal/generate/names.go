package generate

import (
	"net/url"
	"strconv"
	"strings"
)

// firsts and lasts are names as people write them, with the spelling for an ID
// behind a colon where it differs from the lower-case one.
var firsts = strings.Fields(`
	Emma Liam Olivia Noah Ava Mateo Sofia Lucas Mia Ethan Amelia Leo Isla Oscar Freya Hugo Clara Jonas Marta Felix
	Nina Anton Greta Emil Ida Viktor Alma Theo Rosa Jakob Hanna Paul Lena Max Julia Tom Sara Ben Lea Tim
	Aisha Omar Layla Yusuf Zainab Karim Amara Kwame Zuri Kofi Nia Tariq Priya Arjun Anika Rohan Meera Dev Kavya Ravi
	Yuki Haruto:haruto Sakura Kenji Hana Minh Linh Bao Jiho Sooyeon Wei Mei Jun Ling Diego Lucía:lucia Camila Javier Valentina Andrés:andres
	Zoë:zoe Søren:soren Chloé:chloe François:francois Jürgen:juergen Björn:bjoern Łukasz:lukasz Saoirse Niamh:niamh Ngọc:ngoc
	李娜:lina 王伟:wangwei さくら:sakura2 민준:minjun Анна:anna Дмитрий:dmitri`)

var lasts = strings.Fields(`
	Clark Hughes Turner Bennett Foster Hayes Morgan Reid Walsh Carter Bailey Brooks Cooper Dixon Ellis Fisher Grant Harper Irwin Jennings
	Keller Lang Meyer Novak Olsen Petrov Quinn Rossi Schmidt Torres Ueda Vargas Weber Xu Young Zimmer Almeida Bauer Costa Duarte
	Eriksen Ferrari Garcia Hoffmann Ivanova Jensen Kowalski Larsen Moreau Nakamura Okafor Patel Ramos Silva Tanaka Usman Vogel Wagner Yilmaz Zhang
	Adeyemi Banerjee Chowdhury Das Eze Farouk Gupta Haddad Iyer Joshi Khan Mensah Nguyen Osei Park Rahman Singh Tran Villa Wong
	O'Brien:obrien D'Angelo:dangelo Núñez:nunez Müller:mueller Åberg:aberg`)

// odd makes an ID that is hard to carry through subjects, paths, globs and quotes.
var odd = []func(id string) string{
	func(id string) string { return strings.ReplaceAll(id, "_", " ") },
	func(id string) string { return strings.ReplaceAll(id, "_", ".") },
	func(id string) string { return strings.ReplaceAll(id, "_", "/") },
	func(id string) string { return id + " 🎸" },
	func(id string) string { return "*" + id + ">" },
	func(id string) string { return "100%" + id + "%2F" },
	func(id string) string { return `"` + id + `"\'` },
	func(id string) string { return "C2C" + id },
	func(id string) string { return "…" + id + "é" },
}

const (
	oddShare   = 0.06
	plainRanks = 3 // the busiest have IDs that are easy to type
)

func split(name string) (shown, id string) {
	if shown, id, ok := strings.Cut(name, ":"); ok {
		return shown, id
	}
	return name, strings.ToLower(name)
}

func (w *world) namePeople() {
	taken := map[string]int{}
	for i := range w.people {
		first, firstID := split(pick(w.Generator, firsts))
		last, lastID := split(pick(w.Generator, lasts))
		id := firstID + "_" + lastID
		if taken[id]++; taken[id] > 1 {
			id += "_" + strconv.Itoa(taken[id])
		}
		if i >= plainRanks && w.chance(oddShare) {
			id = pick(w.Generator, odd)(id)
		}
		w.people[i] = person{
			id: id, first: first, nick: first + " " + last,
			avatar: "https://example.com/avatar/" + url.PathEscape(id) + ".png",
		}
	}
}

// groupNames are the first groups' names; more are a place and a hobby.
var groupNames = []string{
	"Weekend Hikers 🥾", "Apollo Team", "Flat 4B", "Book Club", "Family ❤️", "Design Review", "Five-a-side", "Class of 2012", "Lunch?",
	"Neighbours", "Release Train 🚂", "Board Games", "Parents 3C", "Night Shift", "家族群 🏮", "Choir", "On-call", "Café Crew ☕",
	"Surf Sunday 🏄", "Climbing Gym", "Garden Plot 12", "旅行の計画", "Startup Pub Quiz", "Support Escalations", "Band Practice 🥁",
	"Thesis Survivors", "Los Primos", "Marathon Training", "Photo Walks 📷", "Sunday Bakers",
}

var groupKinds = []string{"Public", "Private", "Private", "Public", "Community", "Public", "Private", "ChatRoom", "Private", "AVChatRoom"}

var places = []string{
	"Lisbon", "Hamburg", "Osaka", "Leeds", "Montréal", "Oslo", "Seoul", "Porto", "Denver", "Nairobi", "Kraków", "Lyon", "Austin", "Hanoi",
	"Ghent", "Cork", "São Paulo", "Zürich", "Accra", "Wellington", "成都",
}

var hobbies = []string{
	"Runners", "Gardening", "Chess", "Football", "Cooking", "Cycling", "Jazz", "Photography", "Sailing", "Yoga", "Pottery", "Astronomy",
	"Film Nights", "Board Games", "Badminton", "Open Source", "Language Exchange",
}

func (w *world) nameGroups() {
	taken := map[string]int{}
	for i := range w.groups {
		name := pick(w.Generator, places) + " " + pick(w.Generator, hobbies)
		if i < len(groupNames) {
			name = groupNames[i]
		}
		if taken[name]++; taken[name] > 1 {
			name += " " + strconv.Itoa(taken[name])
		}
		id := slug(name)
		if id == "" || i%7 == 3 {
			id = "@TGS#" + strings.ToUpper(strconv.FormatUint(uint64(1<<20+i), 36))
		}
		if i >= plainRanks && w.chance(oddShare) {
			id = name + " *>/%"
		}
		w.groups[i] = group{
			id: id, name: name, kind: groupKinds[i%len(groupKinds)],
			avatar: "https://example.com/group/" + strconv.Itoa(i) + ".png",
		}
	}
}

// slug is the ASCII letters and digits of a name, the words joined by hyphens.
func slug(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	return strings.Join(words, "-")
}

var (
	genders       = []string{"Gender_Type_Unknown", "Gender_Type_Female", "Gender_Type_Male"}
	joinOptions   = []string{"FreeAccess", "NeedPermission", "DisableApply"}
	remindTypes   = []string{"AcceptAndNotify", "AcceptAndNotify", "AcceptNotNotify", "Discard", "AcceptNotNotifyExceptAt", "NotReceiveMsgExceptAt"}
	ownGroups     = []string{"work", "family", "friends", "later", "school", "✈️ trips"}
	colors        = []string{"teal", "amber", "plum", "sand"}
	roles         = []string{"backend", "design", "treasurer", "goalkeeper", "on holiday", "3C", "night shift", "piano", "new here"}
	moods         = []string{"🌻", "on holiday 🏖️", "(away)", "🎧", "2.0", "❄️"}
	remarks       = []string{" (work)", " from school", " 🏋️", " next door", " plumber", ""}
	reasons       = []string{"wrong chat", "typo", "spam", "off topic", "sent too early"}
	signatures    = []string{"Coffee first.", "Out for a run 🏃", "Probably asleep", "Mostly harmless gardener", "Ask me about bread 🍞", "Away until Monday", "Slow to answer, quick to laugh"}
	notifications = []string{"Be kind, be brief.", "Next meeting: Thursday, 19:00", "Please no voice messages after ten.", "New here? Say hello! 👋"}
	notices       = []string{
		"You signed in on a new device.", "Your request to join was approved.", "A new version is available.", "Storage is almost full: 92% used.",
		"You were made an administrator.", "Your profile picture was updated.", "Planned maintenance on Sunday, 02:00–03:00 UTC.",
		"Somebody asks to join your group.", "Your weekly summary is ready 📈",
	}
	files     = []string{"minutes.pdf", "budget v3 (final).xlsx", "poster.ai", "floor plan.png.zip", "setlist.txt", "thesis_draft_11.docx", "route.gpx", "Räume & Zeiten.pdf"}
	polls     = []string{"Where do we eat?", "Saturday or Sunday?", "Do we need a bigger table?", "Keep the old logo?"}
	abstracts = []string{"Emma: where are you?", "Leo: [Image]", "Mia: it works now", "Noah: two minutes", "Priya: who has the key?"}
)
