package generate

import "strings"

// talk is what a session is about, with the words that stay the same in it.
type talk struct {
	topic *topic
	words [slots]string
}

// topic is a subject of small talk.
type topic struct{ openers, replies, closers []line }

// line is a sentence in parts, each of them a text or a slot.
type line []part

type part struct {
	text string
	slot slot
}

type slot uint8

const (
	slotName slot = iota + 1 // the first name of another in the session
	slotFood
	slotPlace
	slotDay
	slotHour
	slotThing
	slotNumber
	slots
)

var slotNames = map[string]slot{
	"name": slotName, "food": slotFood, "place": slotPlace, "day": slotDay, "hour": slotHour, "thing": slotThing, "n": slotNumber,
}

var slotWords = [slots][]string{
	slotFood:   foods,
	slotPlace:  {"the station", "the harbour", "the old library", "the park", "Gate 12", "the office", "Nico's", "the corner café", "the gym", "the lake"},
	slotDay:    {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "tomorrow", "the 14th"},
	slotHour:   {"seven", "half past eight", "noon", "18:30", "9 sharp", "quarter to ten", "three-ish", "20:15"},
	slotThing:  {"the login page", "the search index", "the invoice export", "the mobile build", "the dashboard", "the staging server", "the map view", "the upload"},
	slotNumber: {"2", "3", "4", "5", "6", "7", "8", "12", "20", "25"},
}

var foods = []string{"ramen", "tacos", "falafel", "pancakes", "sushi", "pizza", "dumplings", "curry", "bibimbap", "soup", "arepas", "pierogi"}

func (w *world) newTalk() talk {
	t := talk{topic: &topics[w.rng.IntN(len(topics))]}
	for s, words := range slotWords {
		if len(words) > 0 {
			t.words[s] = pick(w.Generator, words)
		}
	}
	return t
}

// lines reads one sentence per line; {name} and the like are slots.
func lines(text string) []line {
	var list []line
	for sentence := range strings.Lines(strings.TrimSpace(text)) {
		var l line
		rest := strings.TrimSpace(sentence)
		for rest != "" {
			before, after, found := strings.Cut(rest, "{")
			if before != "" {
				l = append(l, part{text: before})
			}
			if !found {
				break
			}
			name, tail, _ := strings.Cut(after, "}")
			s, ok := slotNames[name]
			if !ok {
				panic("generate: no slot " + name)
			}
			l, rest = append(l, part{slot: s}), tail
		}
		list = append(list, l)
	}
	return list
}

// chatter fits anywhere.
var chatter = lines(`
	haha
	😂😂
	👍
	Yes!
	No way
	One second, phone
	Good point
	Exactly what I was going to say
	Hm, not sure about that
	sorry, on the bus, bad signal
	Wait, what?
	🙌
	ok
	Thanks {name}!
	{name} knows best
	brb
	That made my day
	Tell me more
	Sounds good to me`)

var topics = []topic{
	{
		openers: lines(`
			Anyone up for {food} at {hour}?
			I'm starving. {food}?
			{name}, did you have lunch already?`),
		replies: lines(`
			{food} again? We had that twice this week
			I'm in 🙋
			Only if we go to {place}
			Count me in, but I have to be back in an hour
			They are closed on Mondays, I think
			There is a new {food} place near {place}
			Save me a seat please
			I brought sandwiches, but I'll come for coffee
			How about {hour} instead?
			My treat this time 💸
			{name} always picks the spicy one 🌶️
			The queue is out of the door, hurry`),
		closers: lines(`
			See you there at {hour}
			Leaving now 🏃
			That was the best {food} of my life`),
	},
	{
		openers: lines(`
			{thing} is down again
			Is it just me or is {thing} really slow today?
			Heads up: deploying {thing} in {n} minutes
			{name}, did you touch {thing}?`),
		replies: lines(`
			Looking 👀
			Works for me, did you clear the cache?
			I see {n} errors since {hour}
			Rolled back, give it a minute
			It was the certificate. It is always the certificate.
			The tests are green, so it must be fine 🙈
			Can you send me a screenshot?
			Found it: off by one
			Who is on call today? {name}?
			Fix is in review, please have a look
			Let's talk about it at {hour}
			Memory looks normal, disk is at {n}%
			I'd rather not deploy on a Friday
			The graph looks like a ski jump 📈`),
		closers: lines(`
			{thing} is back ✅
			Merged. Thanks everybody
			I'll write it up {day}`),
	},
	{
		openers: lines(`
			Who is coming to {place} {day}?
			{day} {hour}, {place}. Who's in?
			Plans for {day}?`),
		replies: lines(`
			Me! Can I bring my sister?
			Depends on the weather ⛅
			I could drive, room for {n}
			What should I bring?
			I can't before {hour}
			Let's take the train then
			{name} has the tickets, right?
			I'll bring the cards and {food}
			Last time we missed the bus 😅
			Is there parking at {place}?
			My knee still hurts, but I'll be there
			Maybe, I'll tell you tonight
			We are {n} now`),
		closers: lines(`
			{day}, {hour}, {place}. Don't be late
			Great, see you {day}!
			I'm so looking forward to this 🎉`),
	},
	{
		openers: lines(`
			Did you see the match last night?
			What a goal in minute {n}!!! ⚽
			We need a goalkeeper for {day}`),
		replies: lines(`
			I fell asleep at half time
			Never a penalty
			My neighbour shouted so loud I didn't need the radio
			They deserved it this time
			{name} said they would lose, remember?
			Training is at {hour}, bring water
			I still can't believe it
			My shoes are at {place} since last week
			{n}:1, what else is there to say
			The referee needs new glasses 👓
			I can play in goal, but I'm not good at it`),
		closers: lines(`
			Next time we win
			Good game everyone 💪
			Rematch {day}`),
	},
	{
		openers: lines(`
			Can somebody feed the cat {day}? 🐈
			Has anyone seen my bike key?
			The heating is off again, anyone else cold?
			Parcel for {name} is with me`),
		replies: lines(`
			I can, I'm home from {hour}
			It's on the kitchen table, next to the {food}
			The landlord promised to come {day}
			Thank you, you're an angel 😇
			Third floor is warm, come up for tea
			Who left the door open?
			The cat has already convinced me she wasn't fed
			I'll ring at {hour}
			Please take the bins out, it's {day}
			I paid {n} for the repair, receipt follows
			There are {n} boxes in the hall, whose are they?`),
		closers: lines(`
			All sorted, thanks 🙏
			Found it!
			I owe you a {food}`),
	},
	{
		openers: lines(`
			Finished the book last night. What did you think?
			What are you all reading at the moment?
			Chapter {n}. I have questions.`),
		replies: lines(`
			No spoilers please, I'm on page {n}
			The ending came out of nowhere
			I liked the sister best
			Too many names, I made a list
			I cried on the tram 😭
			The first hundred pages are hard, then it flies
			{name}, may I borrow yours?
			I only read it for the food descriptions
			Let's discuss it {day} at {place}
			The film is nothing like it
			The translation is wonderful`),
		closers: lines(`
			My turn to choose the next one
			Then {day} at {hour}, and somebody brings {food}
			I'm going to read it again`),
	},
	{
		openers: lines(`
			We landed! ✈️
			Greetings from {place} 🌞
			{name}, how is the trip?`),
		replies: lines(`
			It has been raining for {n} hours
			The view is worth every step
			We took the wrong ferry and it was the best day so far
			Send pictures!
			Jealous
			How was the {food}?
			Suitcase is still somewhere over the ocean
			Our room has no window but {n} pillows
			Don't forget sunscreen
			We're at {place}, the guide is {n} minutes late
			When are you back?
			I learned to say thank you and "one more {food} please"`),
		closers: lines(`
			Boarding now, talk {day}
			Home again. The plants survived 🪴
			Back on {day}`),
	},
	{
		openers: lines(`
			Happy birthday {name}! 🎂🎉
			It's {name}'s birthday {day}, any ideas for a present?
			Surprise party {day}. Not a word to anyone`),
		replies: lines(`
			Happy birthday!! 🥳
			All the best, hope you get {food}
			I'd put in {n}
			A plant? A big one?
			Tickets, always tickets
			How old this time, {n}? 😄
			I'll make the cake if someone brings candles
			Thank you all, you are the best ❤️
			We could meet at {place} around {hour}
			Who has a large pot?
			Shh 🤫`),
		closers: lines(`
			See you at {hour}, bring dancing shoes
			That was a lovely evening
			I'll collect the money {day}`),
	},
	{
		openers: lines(`
			Reminder: stand-up at {hour}
			Can we move the meeting to {day}?
			{name}, are the slides ready?`),
		replies: lines(`
			{day} is fine with me
			I have a conflict at {hour}
			Slide {n} needs a better picture
			Room or call?
			The small room, the big one is taken
			I'll share the notes afterwards
			Could have been a message 😬
			The customer liked it, they want {n} more
			Budget is approved 🎉
			Let's keep it to {n} minutes
			Does anyone have the adapter?
			I'm five minutes behind, start without me`),
		closers: lines(`
			Moved to {day}, {hour}
			Notes are in the folder
			Good, then we are done for today`),
	},
	{
		openers: lines(`
			Good morning ☀️
			Hello, is {name} around?
			Long time no see! How are you?`),
		replies: lines(`
			Morning! Coffee?
			Tired, but fine. You?
			Busy week, {n} things at once
			I'm at {place}, can I call you at {hour}?
			The little one slept through, first time in {n} days
			New job, new city, same old me
			We should really meet again
			I thought of you when I walked past {place}
			Still dancing on Thursdays? 💃
			All good here, garden is full of tomatoes 🍅
			Did you get my letter?`),
		closers: lines(`
			Let's talk {day}, promise
			Have a good one!
			Sleep well 🌙`),
	},
	{
		openers: lines(`
			Which song should we open with on {day}?
			Rehearsal {day} at {hour}, usual place
			I wrote a new bridge, listen 🎶`),
		replies: lines(`
			The fast one, please
			Too high for me, can we go down {n} steps?
			My strings arrived
			The drummer is stuck at {place} 🥁
			I love the second verse
			Let's record it this time
			Can we skip the solo?
			{name}, you came in early again 😜
			I need {n} more bars
			The neighbours applauded. Or complained. Hard to tell
			Setlist is on the table`),
		closers: lines(`
			One more time {day}
			That's a wrap 🎤
			See you on stage`),
	},
}
