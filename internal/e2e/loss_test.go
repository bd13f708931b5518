package e2e_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/projection/bruteforce"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// TestLoss_OfTheReadModel drops all tables under a projector, whose consumer group and
// that of a rebuild have committed everything, and makes them anew. What is in the topics
// must all come again, to the read model and to a rebuild of it.
func TestLoss_OfTheReadModel(t *testing.T) {
	rng := newRand(t)
	chat := drawChat(t, rng)
	now := chat[len(chat)-1].Time.Time().Add(time.Minute)
	s := newSystemOf(t, rng, messagePartitions, statePartitions)
	projector, err := ingest.New(s.ingest(), readmodel.NewLive(s.readModel), events.NewDecoder(events.DefaultLimits()), s.log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { ended <- projector.Run(ctx) }()
	s.send(chat...)
	s.settle()
	if err := s.rebuild(toTheEnd); err != nil {
		t.Fatal(err)
	}

	if err := s.readModel.DropAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.readModel.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if anew := (*readmodel.AnewError)(nil); !errors.As(<-ended, &anew) {
		t.Fatalf("the projector of the read model before ended with %v", anew)
	}
	s.project()
	if err := s.rebuild(toTheEnd); err != nil {
		t.Fatal(err)
	}
	s.settleHere()
	if found := s.verify(now, true, 100); len(found.Differences) > 0 || !found.Whole {
		t.Fatalf("the generations differ: %+v", found)
	}
}

// TestLoss_Restored has a backup made while projectors go on, and restores it when all is
// lost. What it lacks must come when the coverage is taken away.
func TestLoss_Restored(t *testing.T) {
	rng := newRand(t)
	chat := drawChat(t, rng)
	now := chat[len(chat)-1].Time.Time().Add(time.Minute)
	s := newSystemOf(t, rng, messagePartitions, statePartitions)
	conn := sandboxtest.ClickHouse(t)
	statement := func(of string) error {
		return conn.Exec(t.Context(), strings.NewReplacer("{db}", s.database, "{place}", "File('"+s.database+"')").Replace(of))
	}
	stop := s.project()
	third := len(chat) / 3
	s.send(chat[:third]...)
	s.settle()
	made := make(chan error, 1)
	go func() { made <- statement("BACKUP DATABASE {db}, DATABASE {db}_g1 TO {place}") }()
	s.send(chat[third : 2*third]...)
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	s.send(chat[2*third:]...)
	s.settle()
	stop()
	if err := s.readModel.DropAll(t.Context()); err != nil {
		t.Fatal(err)
	}

	for _, again := range []string{"RESTORE DATABASE {db}, DATABASE {db}_g1 FROM {place}", "TRUNCATE TABLE {db}.coverage"} {
		if err := statement(again); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.readModel.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.project()
	s.settleHere()
	s.serve(func() time.Time { return now })
	compareAll(t, peopleOf(chat), bruteforce.New(chat, events.MicrosOf(now)), s)
	if err := s.rebuild(toTheEnd); err != nil {
		t.Fatal(err)
	}
	if found := s.verify(now, true, 100); len(found.Differences) > 0 || !found.Whole {
		t.Fatalf("the restored generation differs from one that is made anew: %+v", found)
	}
}

// TestLoss_OfAGeneration puts the registry back to what it was before a generation, which
// comes again under the same number. Its rebuild must read everything, too.
func TestLoss_OfAGeneration(t *testing.T) {
	rng := newRand(t)
	chat := drawChat(t, rng)
	now := chat[len(chat)-1].Time.Time().Add(time.Minute)
	s := newSystemOf(t, rng, 1, 1)
	stop := s.project()
	s.send(chat...)
	s.settle()
	if err := s.rebuild(toTheEnd); err != nil {
		t.Fatal(err)
	}
	stop()
	conn := sandboxtest.ClickHouse(t)
	for _, statement := range []string{
		"DROP DATABASE {db}_g2 SYNC", "DROP TABLE {db}.generation_2 SYNC", "ALTER TABLE {db}.generations DELETE WHERE generation = 2 SETTINGS mutations_sync = 1", "TRUNCATE TABLE {db}.coverage",
	} {
		if err := conn.Exec(t.Context(), strings.ReplaceAll(statement, "{db}", s.database)); err != nil {
			t.Fatal(err)
		}
	}
	s.project()
	if err := s.rebuild(toTheEnd); err != nil {
		t.Fatal(err)
	}
	s.settleHere()
	if found := s.verify(now, true, 100); len(found.Differences) > 0 || !found.Whole {
		t.Fatalf("the generations differ: %+v", found)
	}
}

// settleHere is settle of a read model that was made after others have committed.
func (s *system) settleHere() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for begun := 0; begun < len(s.partitions); time.Sleep(time.Millisecond) {
		list, err := s.readModel.Begun(ctx)
		if err != nil {
			s.t.Fatalf("%d of %d partitions are begun: %v", begun, len(s.partitions), err)
		}
		begun = len(list)
	}
	s.settle()
}
