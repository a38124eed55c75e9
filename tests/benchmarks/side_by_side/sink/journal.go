package main

import (
	"sync/atomic"
	"time"
)

// The memory is touched, and so taken, only as far as mails come.
const journalRoom = 4_000_000

// A journal holds what came since the last /begin. Its arrays never move, so connections write
// into them beside each other without a lock.
type journal struct {
	delay     time.Duration
	taken     atomic.Int64
	octets    atomic.Int64
	heldNs    atomic.Int64
	numbers   []uint64
	timesNs   []int64
	isSampled atomic.Bool
	sample    atomic.Pointer[[]byte]
}

type relayState struct {
	journal     atomic.Pointer[journal]
	connections atomic.Int64
}

func (s *relayState) begin(delay time.Duration) {
	s.journal.Store(&journal{
		delay:   delay,
		numbers: make([]uint64, journalRoom),
		timesNs: make([]int64, journalRoom),
	})
}

// mails returns how many there are; one that is being noted may have no time yet.
func (j *journal) mails() int64 {
	return min(j.taken.Load(), journalRoom)
}

// take notes a mail at the moment its last reply is due.
func (j *journal) take(number uint64, octets int, began time.Time) {
	now := time.Now()
	j.octets.Add(int64(octets))
	j.heldNs.Add(int64(now.Sub(began)))
	if at := j.taken.Add(1) - 1; at < journalRoom {
		j.numbers[at] = number
		j.timesNs[at] = now.UnixNano()
	}
}
