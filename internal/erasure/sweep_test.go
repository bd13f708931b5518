package erasure

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/readmodel/readmodeltest"
	"github.com/convoview/convoview/internal/sandbox"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m, sandbox.ClickHouse) }

// open gives a server with two generations, the second of which is being filled, in both of
// which dave has said something and was erased.
func open(t *testing.T) *readmodel.Server {
	t.Helper()
	server := readmodeltest.New(t, readmodeltest.Config(t))
	if _, err := server.Add(t.Context(), readmodel.Options{}); err != nil {
		t.Fatal(err)
	}
	write(t, server, "1", &events.UserErased{UserID: "dave"})
	conn := sandboxtest.ClickHouse(t)
	for _, table := range []string{"messages", "registers", "activity_users"} { // what dave is in; else it takes minutes
		for number := 1; number <= 2; number++ {
			if err := conn.Exec(t.Context(), "ALTER TABLE "+server.Generation(number).Database()+"."+table+" MODIFY SETTING old_parts_lifetime = 0"); err != nil {
				t.Fatal(err)
			}
		}
	}
	return server
}

// write writes a message of dave and something else to both generations.
func write(t *testing.T, server *readmodel.Server, id string, body events.Body) {
	t.Helper()
	m := projection.NewModel()
	at := events.MicrosOf(time.Now())
	m.Fold(events.Event{ID: id, App: "demo", Time: at, Body: body})
	m.Fold(events.Event{ID: id + "-message", App: "demo", Time: at, Body: &events.MessageSent{
		Conversation: events.Group("hike"), From: "dave", MessageID: id, Sequence: 1, Type: events.TypeText, MessageForShow: "hi",
	}})
	for number := 1; number <= 2; number++ {
		if err := server.Generation(number).Write(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
}

// erase has one generation know that a user is erased.
func erase(t *testing.T, store *readmodel.Store, user string) {
	t.Helper()
	m := projection.NewModel()
	m.Fold(events.Event{ID: "erase-" + user, App: "demo", Time: events.MicrosOf(time.Now()), Body: &events.UserErased{UserID: user}})
	if err := store.Write(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

// rows are how many have something of an erased user.
func rows(t *testing.T, s *Sweeper) uint64 {
	t.Helper()
	left, err := s.Left(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return deleted(left) + blanked(left)
}

// lines hears what is logged.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func sweeper(server *readmodel.Server, interval time.Duration) (*Sweeper, *prometheus.Registry, lines) {
	registry, log := prometheus.NewRegistry(), make(lines, 16)
	return New(Config{Interval: interval}, server, slog.New(slog.NewTextHandler(log, nil)), registry), registry, log
}

// TestSweeper_SweepsWhatIsDue has one of two sweepers sweep every generation that is kept,
// when it is time, and both say of it what there is to say.
func TestSweeper_SweepsWhatIsDue(t *testing.T) {
	server := open(t)
	early, _, _ := sweeper(server, time.Hour)
	wait, err := early.sweepDue(t.Context())
	if err != nil || wait <= 0 || wait >= time.Hour {
		t.Errorf("due in %v (%v), want an hour after they were made", wait, err)
	}
	found := rows(t, early)
	if found == 0 {
		t.Fatal("swept before it was time")
	}

	due, registry, log := sweeper(server, time.Nanosecond)
	begin := time.Now()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- due.Run(ctx) }()
	for generation := 1; generation <= 2; generation++ {
		if line := <-log; !strings.Contains(line, fmt.Sprintf("level=INFO msg=swept generation=%d ", generation)) {
			t.Errorf("log: %s", line)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := rows(t, due); n > 0 {
		t.Errorf("%d rows are left", n)
	}
	if last, err := server.LastSweeps(t.Context()); err != nil || last[1].Before(begin) || last[2].Before(begin) {
		t.Errorf("the registry says of sweeps %v, %v, want since %v", last, err, begin)
	}
	if got := testutil.ToFloat64(due.metrics.deleted) + testutil.ToFloat64(due.metrics.blanked); got != float64(found) {
		t.Errorf("%v rows are counted, want %d", got, found)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}

	other, _, _ := sweeper(server, time.Hour)
	write(t, server, "2", &events.UserErased{UserID: "eve"})
	if _, err := other.sweepDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rows(t, other) == 0 {
		t.Error("swept again before it was time")
	}
	last := testutil.ToFloat64(other.metrics.last)
	if since := float64(time.Now().Unix()) - last; since < -1 || since > 3600 {
		t.Errorf("the last sweep was %v s ago, want what the other sweeper has said", since)
	}
	if users := testutil.ToFloat64(other.metrics.users); users != 2 {
		t.Errorf("%v users were erased, want 2", users)
	}
}

// TestSweeper_SaysOfTheOldestSweep holds that what operators are warned by is the generation
// that was not swept for longest, whichever that is.
func TestSweeper_SaysOfTheOldestSweep(t *testing.T) {
	server := open(t)
	s, _, _ := sweeper(server, 0)
	there, _, err := s.observe(t.Context())
	if err != nil || len(there) != 2 {
		t.Fatal(there, err)
	}
	for i, want := range []readmodel.Generation{there[1], there[0]} { // the one that is not swept yet
		swept := there[i]
		if err := server.Swept(t.Context(), swept.Number, want.Made.Add(time.Duration(i+1)*time.Hour)); err != nil {
			t.Fatal(err)
		}
		_, last, err := s.observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, oldest := testutil.ToFloat64(s.metrics.last), lastOf(want, last); got != float64(oldest.UnixMicro())/1e6 {
			t.Errorf("generation %d was swept, and the last sweep is said to be %v, want generation %d's at %v", swept.Number, got, want.Number, oldest)
		}
	}
}

// TestSweeper_Several has three sweep at once, and one be broken off before: all end, and
// nothing is left.
func TestSweeper_Several(t *testing.T) {
	server := open(t)
	broken, stop := context.WithCancel(t.Context())
	first, _, _ := sweeper(server, 0)
	conn := sandboxtest.ClickHouse(t)
	merges := func(does string) { // with which the engine also rewrites parts
		t.Helper()
		if err := conn.Exec(t.Context(), "SYSTEM "+does+" MERGES "+server.Generation(1).Database()+".registers"); err != nil {
			t.Fatal(err)
		}
	}
	merges("STOP")
	begun := false
	if _, err := first.Sweep(broken, func(Progress) { begun = true; stop() }); err == nil || !begun {
		t.Fatalf("it was not broken off in the middle: %v", err)
	}
	merges("START")
	errs := make(chan error)
	for range 3 {
		s, _, _ := sweeper(server, 0)
		go func() {
			_, err := s.Sweep(t.Context(), func(Progress) {})
			errs <- err
		}()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := rows(t, first); n > 0 {
		t.Errorf("%d rows are left", n)
	}
}

// TestSweeper_OneIsStuck sweeps the others, and says which one could not be.
func TestSweeper_OneIsStuck(t *testing.T) {
	for name, sweep := range map[string]func(*Sweeper, context.Context) error{
		"by hand": func(s *Sweeper, ctx context.Context) error {
			_, err := s.Sweep(ctx, func(Progress) {})
			return err
		},
		"daily": func(s *Sweeper, ctx context.Context) error {
			_, err := s.sweepDue(ctx)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := open(t)
			if err := sandboxtest.ClickHouse(t).Exec(t.Context(), "DROP TABLE "+server.Generation(1).Database()+".registers"); err != nil {
				t.Fatal(err)
			}
			s, _, _ := sweeper(server, time.Nanosecond)
			if err := sweep(s, t.Context()); err == nil || !strings.Contains(err.Error(), "generation 1: ") {
				t.Errorf("got %v", err)
			}
			left, err := server.Generation(2).Unswept(t.Context(), server.Generation(2))
			if n := deleted(of(2, left)) + blanked(of(2, left)); err != nil || n > 0 {
				t.Errorf("%d rows are left of generation 2, %v", n, err)
			}
		})
	}
}

// TestSweeper_OfDropped is no failure: what is gone has nothing left. That it cannot be seen what
// is there is one.
func TestSweeper_OfDropped(t *testing.T) {
	server := open(t)
	s, _, _ := sweeper(server, 0)
	if err := server.DropGeneration(t.Context(), 2, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.generation(t.Context(), readmodel.Generation{Number: 2, State: readmodel.Filled}, func(Progress) {}); err != nil {
		t.Error(err)
	}
	over, stop := context.WithCancel(t.Context())
	stop()
	if _, err := s.generation(over, readmodel.Generation{Number: 1, State: readmodel.Filled}, func(Progress) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("a sweep that was broken off: got %v", err)
	}
}

// TestSweeper_OfWhatADropHasLeft takes what is erased users' out of a generation whose drop was
// broken off before its tables were gone, also what is of those of whom it was not told.
func TestSweeper_OfWhatADropHasLeft(t *testing.T) {
	for name, sweep := range map[string]func(*Sweeper) error{
		"by hand": func(s *Sweeper) error {
			_, err := s.Sweep(t.Context(), func(Progress) {})
			return err
		},
		"daily": func(s *Sweeper) error {
			_, err := s.sweepDue(t.Context())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := open(t)
			ctx, kill := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- server.DropGeneration(ctx, 2, time.Hour) }()
			for gone := (*readmodel.GoneError)(nil); !errors.As(server.Kept(t.Context(), 2), &gone); {
				if t.Context().Err() != nil {
					t.Fatal("it is not dropped")
				}
			}
			kill()
			if err := <-ended; err == nil || !strings.Contains(err.Error(), "projector generations drop 2") {
				t.Errorf("broken off: got %v", err)
			}
			erase(t, server.Generation(1), "eve") // and projectors write no other
			m := projection.NewModel()
			m.Fold(events.Event{ID: "late", App: "demo", Time: events.MicrosOf(time.Now()), Body: &events.MessageSent{
				Conversation: events.Group("hike"), From: "eve", MessageID: "m", Sequence: 2, Type: events.TypeText, MessageForShow: "hi",
			}})
			if err := server.Generation(2).Write(t.Context(), m); err != nil {
				t.Fatal(err)
			}

			s, _, log := sweeper(server, time.Nanosecond)
			found, err := s.Left(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			found = slices.DeleteFunc(found, func(s Swept) bool { return s.Generation != 2 })
			known, err := server.Generation(2).Unswept(t.Context(), server.Generation(2))
			if err != nil {
				t.Fatal(err)
			}
			own := of(2, known)
			if all, dave := deleted(found)+blanked(found), deleted(own)+blanked(own); dave == 0 || all <= dave {
				t.Errorf("before it is swept %d rows are left, and %d are of dave: nothing is said of eve", all, dave)
			}
			if users, err := server.Generation(2).Apps(t.Context(), []string{"demo"}); err != nil || len(users["demo"].Erased) == 2 {
				t.Errorf("to look for what is left has changed it: it knows %v, %v", users, err)
			}
			if err := sweep(s); err != nil {
				t.Error(err)
			}
			left, err := server.Generation(2).Unswept(t.Context(), server.Generation(2))
			if n := deleted(of(2, left)) + blanked(of(2, left)); err != nil || n > 0 {
				t.Errorf("%d rows are left, %v", n, err)
			}
			if users, err := server.Generation(2).Apps(t.Context(), []string{"demo"}); err != nil || len(users["demo"].Erased) != 2 {
				t.Errorf("it knows %v, %v, want two erased users", users, err)
			}
			if line := <-log; !strings.Contains(line, "level=WARN msg=\"dropped, but its tables are still there: projector generations drop removes them\" generation=2") {
				t.Errorf("log: %s", line)
			}

			if err := server.DropGeneration(t.Context(), 2, 0); err != nil { // again
				t.Fatal(err)
			}
			if there, err := s.there(t.Context()); err != nil || len(there) != 1 {
				t.Errorf("there are %+v, %v", there, err)
			}
		})
	}
}

// TestSweeper_DropsExpiredDays has an old message and a plan in two generations, one of which
// is being filled: more plans may come to it.
func TestSweeper_DropsExpiredDays(t *testing.T) {
	server := open(t)
	s, _, _ := sweeper(server, 0)
	m := projection.NewModel()
	m.Fold(events.Event{ID: "plan", App: "old", Time: events.MicrosOf(time.Now()), Body: &events.AppPlanChanged{MaxConversations: 10, Retention: events.DefaultRetention}})
	m.Fold(events.Event{ID: "message", App: "old", Time: events.MicrosOf(time.Now().AddDate(0, 0, -60)), Body: &events.MessageSent{
		Conversation: events.C2C("ann", "bob"), From: "ann", MessageID: "m", Sequence: 1, Type: events.TypeText,
	}})
	for number := 1; number <= 2; number++ {
		if err := server.Generation(number).Write(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		r, err := server.Registry(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		g, _ := r.Find(number)
		if _, err := s.generation(t.Context(), g, func(Progress) {}); err != nil {
			t.Fatal(err)
		}
		if dropped := testutil.ToFloat64(s.metrics.expired); dropped == 0 {
			t.Errorf("generation %d: nothing is dropped so far", number)
		}
		rows, err := server.Generation(number).DropExpired(t.Context(), time.Now()) // what is left
		if err != nil || (rows > 0) != (g.State == readmodel.Filling) {
			t.Errorf("generation %d, %v: %d rows of expired days are left, %v", number, g.State, rows, err)
		}
	}
}

// TestSweeper_NeverByItself sweeps nothing, and says when was swept all the same; nothing
// while that is not known.
func TestSweeper_NeverByItself(t *testing.T) {
	server := open(t)
	s, registry, _ := sweeper(server, 0)
	said := func(name string) (value float64, known bool) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == name {
				return f.GetMetric()[0].GetGauge().GetValue(), true
			}
		}
		return 0, false
	}
	for _, name := range []string{"convoview_sweep_last_timestamp_seconds", "convoview_sweep_erased_users"} {
		if value, known := said(name); known {
			t.Errorf("%s is %v before anybody has looked", name, value)
		}
	}
	found := rows(t, s)
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	for {
		if ctx.Err() != nil {
			t.Error("it does not say when was swept")
			break
		}
		if last, known := said("convoview_sweep_last_timestamp_seconds"); known {
			if since := float64(time.Now().Unix()) - last; since < -1 || since > 3600 {
				t.Errorf("the last sweep was %v s ago, want when the generations were made", since)
			}
			break
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if left := rows(t, s); left != found || left == 0 {
		t.Errorf("%d rows are left, want all %d", left, found)
	}
}

func TestConfig_Validate(t *testing.T) {
	for interval, valid := range map[time.Duration]bool{0: true, time.Hour: true, 23 * time.Hour: true, -1: false, 24 * time.Hour: false} {
		if err := (Config{interval}).Validate(); (err == nil) != valid {
			t.Errorf("%v: got %v", interval, err)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}
