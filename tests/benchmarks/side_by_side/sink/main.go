// Sink is the relay of the benchmarks: it takes every mail after a set delay, delivers none, and
// notes when it took which. It speaks SMTP with STARTTLS, PIPELINING, 8BITMIME, SMTPUTF8 and SIZE
// (RFC 5321, 3207, 2920, 6152, 6531, 1870).
//
// It prints "listening SMTP-PORT CONTROL-PORT" and runs until its standard input ends, so that it
// doesn't outlive who started it. Who measures asks the control port, by HTTP:
//
//	POST /begin?delay_us=N    forget what was taken; from now on keep the last reply back so long
//	GET  /count               what was taken so far, as JSON
//	GET  /arrivals            for each mail its number and the time of its last reply, in order
//	GET  /sample              the first mail
package main

import (
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

func main() {
	certificate := flag.String("certificate", "", "PEM file with the certificate chain and the key")
	plain := flag.Bool("plain", false, "take mails without TLS, too")
	flag.Parse()
	relay := &relay{takesPlain: *plain}
	relay.begin(0)
	if *certificate != "" {
		pair, err := tls.LoadX509KeyPair(*certificate, *certificate)
		if err != nil {
			log.Fatal(err)
		}
		relay.tls = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	smtp, control := listen(), listen()
	go func() { log.Fatal(http.Serve(control, relay.control())) }()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println("listening", port(smtp), port(control))
	for {
		connection, err := smtp.Accept()
		if err != nil {
			log.Fatal(err)
		}
		relay.connections.Add(1)
		go relay.serve(connection)
	}
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func port(listener net.Listener) int {
	return listener.Addr().(*net.TCPAddr).Port
}

func (r *relay) control() http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("/begin", func(w http.ResponseWriter, request *http.Request) {
		delayUs, err := strconv.ParseInt(request.URL.Query().Get("delay_us"), 10, 64)
		if err != nil || request.Method != http.MethodPost {
			http.Error(w, "POST /begin?delay_us=N", http.StatusBadRequest)
			return
		}
		r.connections.Store(0)
		r.begin(time.Duration(delayUs) * time.Microsecond)
	})
	routes.HandleFunc("/count", func(w http.ResponseWriter, _ *http.Request) {
		journal := r.journal.Load()
		answer := map[string]int64{
			"mails":       journal.mails(),
			"octets":      journal.octets.Load(),
			"held_us":     journal.heldNs.Load() / 1000,
			"connections": r.connections.Load(),
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			log.Print(err)
		}
	})
	routes.HandleFunc("/arrivals", func(w http.ResponseWriter, _ *http.Request) {
		journal := r.journal.Load()
		// 16 octets a mail: number, then nanoseconds of the Unix epoch, both little-endian.
		answer := make([]byte, 0, 16*journal.mails())
		for at := int64(0); at < journal.mails(); at++ {
			answer = binary.LittleEndian.AppendUint64(answer, journal.numbers[at])
			answer = binary.LittleEndian.AppendUint64(answer, uint64(journal.timesNs[at]))
		}
		if _, err := w.Write(answer); err != nil {
			log.Print(err)
		}
	})
	routes.HandleFunc("/sample", func(w http.ResponseWriter, _ *http.Request) {
		if sample := r.journal.Load().sample.Load(); sample != nil {
			if _, err := w.Write(*sample); err != nil {
				log.Print(err)
			}
		}
	})
	return routes
}
