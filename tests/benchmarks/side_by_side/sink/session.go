package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"time"
)

const bufferOctets = 32 << 10

type relay struct {
	relayState
	tls        *tls.Config
	takesPlain bool
}

// A session is one client's connection. Replies wait until everything that was read is answered,
// as RFC 2920 §3.2 asks for, so that a pipelined group is answered in one packet.
type session struct {
	relay     *relay
	link      net.Conn
	reader    *bufio.Reader
	writer    *bufio.Writer
	isTLS     bool
	hasSender bool
	hasTarget bool
	number    uint64
}

func (r *relay) serve(link net.Conn) {
	defer link.Close()
	s := &session{relay: r, isTLS: r.takesPlain}
	s.use(link)
	s.reply("220 sink.test ESMTP")
	for {
		line, err := s.line()
		if err != nil {
			return
		}
		if err := s.answer(line); err != nil {
			s.writer.Flush()
			return
		}
	}
}

func (s *session) use(link net.Conn) {
	s.link = link
	s.reader = bufio.NewReaderSize(link, bufferOctets)
	s.writer = bufio.NewWriterSize(link, 4<<10)
}

// line returns a command; it is valid until the next read.
func (s *session) line() ([]byte, error) {
	if s.reader.Buffered() == 0 {
		if err := s.writer.Flush(); err != nil {
			return nil, err
		}
	}
	line, err := s.reader.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}

func (s *session) reply(text string) {
	// A failed write is seen at the next Flush.
	s.writer.WriteString(text)
	s.writer.WriteString("\r\n")
}

var errEnd = errors.New("the session is over")

func (s *session) answer(line []byte) error {
	verb := string(bytes.ToUpper(line[:min(4, len(line))]))
	switch {
	case verb == "EHLO":
		s.hello()
	case verb == "HELO":
		s.forget()
		s.reply("250 sink.test")
	case verb == "STAR" && s.relay.tls != nil && !s.hasTLS():
		return s.startTLS()
	case verb == "MAIL" && !s.isTLS:
		s.reply("530 5.7.0 Must issue a STARTTLS command first")
	case verb == "MAIL":
		s.forget()
		s.hasSender = true
		s.reply("250 2.1.0 Ok")
	case verb == "RCPT" && s.hasSender:
		s.hasTarget = true
		s.number = numberIn(line)
		s.reply("250 2.1.5 Ok")
	case verb == "DATA" && s.hasTarget:
		return s.data()
	case verb == "RCPT" || verb == "DATA":
		s.reply("503 5.5.1 Bad sequence of commands")
	case verb == "RSET":
		s.forget()
		s.reply("250 2.0.0 Ok")
	case verb == "NOOP":
		s.reply("250 2.0.0 Ok")
	case verb == "QUIT":
		s.reply("221 2.0.0 Bye")
		return errEnd
	default:
		s.reply("502 5.5.1 Command not implemented")
	}
	return nil
}

func (s *session) forget() {
	s.hasSender, s.hasTarget = false, false
}

func (s *session) hasTLS() bool {
	_, is := s.link.(*tls.Conn)
	return is
}

func (s *session) hello() {
	s.forget()
	s.reply("250-sink.test")
	if s.relay.tls != nil && !s.hasTLS() {
		s.reply("250-STARTTLS")
	}
	s.reply("250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 10485760")
}

func (s *session) startTLS() error {
	if s.reader.Buffered() > 0 {
		return errEnd // what was sent before the handshake could be anybody's (RFC 3207 §4.2)
	}
	s.reply("220 2.0.0 Ready to start TLS")
	if err := s.writer.Flush(); err != nil {
		return err
	}
	s.forget()
	s.isTLS = true
	s.use(tls.Server(s.link, s.relay.tls))
	return nil
}

func (s *session) data() error {
	s.forget()
	s.reply("354 End data with <CR><LF>.<CR><LF>")
	if err := s.writer.Flush(); err != nil {
		return err
	}
	journal := s.relay.journal.Load()
	var kept []byte
	keeps := journal.isSampled.CompareAndSwap(false, true)
	octets, isLineStart := 0, true
	for {
		line, err := s.reader.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if isLineStart && len(line) == 3 && line[0] == '.' && line[1] == '\r' {
			break
		}
		octets += len(line)
		isLineStart = bytes.HasSuffix(line, []byte("\r\n"))
		if keeps {
			kept = append(kept, line...)
		}
	}
	if keeps {
		journal.sample.Store(&kept)
	}
	began := time.Now()
	if journal.delay > 0 {
		time.Sleep(journal.delay)
	}
	journal.take(s.number, octets, began)
	s.reply("250 2.0.0 Ok: taken")
	return nil
}

// numberIn returns the digits before the "@": who measures numbers its recipients.
func numberIn(line []byte) (number uint64) {
	at := max(bytes.IndexByte(line, '@'), 0)
	for _, octet := range line[bytes.LastIndexByte(line[:at], '<')+1 : at] {
		if octet >= '0' && octet <= '9' {
			number = number*10 + uint64(octet-'0')
		}
	}
	return number
}
