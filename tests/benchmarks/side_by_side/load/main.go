// Load sends mails as fast as a relay takes them, to find out how fast that is: STARTTLS, many
// connections, the next envelope in one write with the body (RFC 2920 §3.1). It doesn't look into
// replies any further than their class.
package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"strings"
	"sync"
	"time"
)

func main() {
	address := flag.String("relay", "", "HOST:PORT")
	connections := flag.Int("connections", 32, "how many at once")
	seconds := flag.Float64("seconds", 3, "for how long")
	octets := flag.Int("octets", 700, "size of a mail")
	isPlain := flag.Bool("plain", false, "without TLS")
	flag.Parse()
	mails := make([]int, *connections)
	body := strings.Repeat(strings.Repeat("x", 74)+"\r\n", *octets/76+1) + ".\r\n"
	var all sync.WaitGroup
	began := time.Now()
	until := began.Add(time.Duration(*seconds * float64(time.Second)))
	for at := range mails {
		all.Add(1)
		go func(at int) {
			defer all.Done()
			sent, err := send(*address, body, *isPlain, until)
			if err != nil {
				log.Fatal(err)
			}
			mails[at] = sent
		}(at)
	}
	all.Wait()
	total := 0
	for _, sent := range mails {
		total += sent
	}
	fmt.Printf("%.0f\n", float64(total)/time.Since(began).Seconds())
}

const envelope = "MAIL FROM:<bench@sink.test>\r\nRCPT TO:<u1@sink.test>\r\nDATA\r\n"

func send(address, body string, isPlain bool, until time.Time) (int, error) {
	link, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer func() { link.Close() }()
	reader := bufio.NewReader(link)
	if err := expect(reader, '2'); err != nil {
		return 0, err
	}
	if !isPlain {
		if err := talk(link, reader, "EHLO load.test\r\nSTARTTLS\r\n", "22"); err != nil {
			return 0, err
		}
		// The relay is this machine's own, and its certificate was made a moment ago.
		link = tls.Client(link, &tls.Config{InsecureSkipVerify: true})
		reader = bufio.NewReader(link)
	}
	if err := talk(link, reader, "EHLO load.test\r\n", "2"); err != nil {
		return 0, err
	}
	if err := talk(link, reader, envelope, "223"); err != nil {
		return 0, err
	}
	both := body + envelope
	for sent := 0; ; sent++ {
		if time.Now().After(until) {
			return sent + 1, talk(link, reader, body, "2")
		}
		if err := talk(link, reader, both, "2223"); err != nil {
			return 0, err
		}
	}
}

func talk(link net.Conn, reader *bufio.Reader, text, classes string) error {
	if _, err := link.Write([]byte(text)); err != nil {
		return err
	}
	for at := range classes {
		if err := expect(reader, classes[at]); err != nil {
			return err
		}
	}
	return nil
}

// expect reads one reply, of several lines maybe.
func expect(reader *bufio.Reader, class byte) error {
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		if line[0] != class {
			return errors.New(string(line))
		}
		if line[3] != '-' {
			return nil
		}
	}
}
