// Probe is what the cluster's own tests run in pods: a server to reach, a client that reports in
// its exit code, and appetites for memory and processor time.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

const attemptTimeout = 2 * time.Second

var commands = map[string]func(arguments []string) error{
	"serve": serve, // serve PORT…: answer every GET with the pod's name, until killed
	"get":   get,   // get URL [SECONDS]: try once, or again and again for so long, to be answered
	"send":  send,  // send NETWORK ADDRESS: write "hello" and wait for an answer
	"echo":  echo,  // echo ADDRESS: answer UDP packets with themselves, until killed
	"write": write, // write FILE TEXT
	"read":  read,  // read FILE
	"eat":   eat,   // eat MEBIBYTES: touch so much memory, then end
	"burn":  burn,  // burn: use one processor, until killed
	"idle":  idle,  // idle: do nothing, until killed
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "probe: unknown command")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func serve(ports []string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	http.HandleFunc("/", func(response http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(response, name)
	})
	ended := make(chan error)
	for _, port := range ports {
		go func() { ended <- http.ListenAndServe(":"+port, nil) }()
	}
	return <-ended
}

func get(arguments []string) error {
	patience := time.Duration(0)
	if len(arguments) > 1 {
		seconds, err := strconv.Atoi(arguments[1])
		if err != nil {
			return err
		}
		patience = time.Duration(seconds) * time.Second
	}
	deadline := time.Now().Add(patience)
	for {
		err := getOnce(arguments[0])
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func getOnce(url string) error {
	client := http.Client{Timeout: attemptTimeout}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("answered with %s", response.Status)
	}
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}

func send(arguments []string) error {
	connection, err := net.DialTimeout(arguments[0], arguments[1], attemptTimeout)
	if err != nil {
		return err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(attemptTimeout))
	if _, err = connection.Write([]byte("hello")); err != nil {
		return err
	}
	answer := make([]byte, 16)
	count, err := connection.Read(answer)
	if err == nil && !bytes.Equal(answer[:count], []byte("hello")) {
		return fmt.Errorf("answered with %q", answer[:count])
	}
	return err
}

func echo(arguments []string) error {
	connection, err := net.ListenPacket("udp", arguments[0])
	if err != nil {
		return err
	}
	packet := make([]byte, 1500)
	for {
		count, sender, err := connection.ReadFrom(packet)
		if err != nil {
			return err
		}
		if _, err = connection.WriteTo(packet[:count], sender); err != nil {
			return err
		}
	}
}

func write(arguments []string) error {
	return os.WriteFile(arguments[0], []byte(arguments[1]), 0o600)
}

func read(arguments []string) error {
	content, err := os.ReadFile(arguments[0])
	fmt.Print(string(content))
	return err
}

func eat(arguments []string) error {
	mebibytes, err := strconv.Atoi(arguments[0])
	if err != nil {
		return err
	}
	memory := bytes.Repeat([]byte{1}, mebibytes<<20)
	fmt.Println("ate", len(memory)>>20, "MiB")
	return nil
}

func burn([]string) error {
	for {
	}
}

func idle([]string) error {
	time.Sleep(time.Duration(1<<63 - 1))
	return nil
}
