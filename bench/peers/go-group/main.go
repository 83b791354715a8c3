// SPDX-License-Identifier: Apache-2.0

// go-group is the webhook server that a Go team would write: net/http, an HMAC check, and one goroutine that groups commits.
//
//	BENCH_SECRET=S go-group -listen 127.0.0.1:PORT -log FILE
//
// A handler verifies, hands its body to the committer and answers 204 when the write and the fdatasync of its group returned.
// Everything that arrives during one sync goes into the next. Standard library only.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"hash"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
)

const bodyMax = 1 << 20

type event struct {
	body    []byte
	durable chan error
}

type server struct {
	macs   sync.Pool // of hash.Hash: Reset keeps the key's state, so a request pays for its own bytes only
	events sync.Pool // of *event, body buffer and channel included
	queue  chan *event
	file   *os.File
}

func (s *server) signed(header string, body []byte) bool {
	given, err := hex.DecodeString(strings.TrimPrefix(header, "sha256="))
	if err != nil || !strings.HasPrefix(header, "sha256=") {
		return false
	}
	mac := s.macs.Get().(hash.Hash)
	defer s.macs.Put(mac)
	mac.Reset()
	mac.Write(body)
	return hmac.Equal(given, mac.Sum(nil))
}

func readBody(r *http.Request, into []byte) ([]byte, error) {
	if r.ContentLength < 0 || r.ContentLength > bodyMax {
		return io.ReadAll(io.LimitReader(r.Body, bodyMax))
	}
	if int64(cap(into)) < r.ContentLength {
		into = make([]byte, r.ContentLength)
	}
	into = into[:r.ContentLength]
	_, err := io.ReadFull(r.Body, into)
	return into, err
}

func (s *server) hook(w http.ResponseWriter, r *http.Request) {
	e := s.events.Get().(*event)
	defer s.events.Put(e)
	var err error
	if e.body, err = readBody(r, e.body); err != nil {
		http.Error(w, "cannot read body", http.StatusBadRequest)
		return
	}
	if r.Method != http.MethodPost || !s.signed(r.Header.Get("X-Hub-Signature-256"), e.body) {
		http.Error(w, "bad signature", http.StatusUnauthorized)
		return
	}
	s.queue <- e
	if err := <-e.durable; err != nil {
		http.Error(w, "not durable", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func appendRecord(group []byte, e *event) []byte {
	group = binary.LittleEndian.AppendUint64(group, uint64(len(e.body)))
	return append(group, e.body...)
}

func (s *server) commit() {
	var group []byte
	var waiting []*event
	for first := range s.queue {
		group, waiting = appendRecord(group[:0], first), append(waiting[:0], first)
		for more := true; more; {
			select {
			case e := <-s.queue:
				group, waiting = appendRecord(group, e), append(waiting, e)
			default:
				more = false
			}
		}
		_, err := s.file.Write(group)
		if err == nil {
			err = syscall.Fdatasync(int(s.file.Fd()))
		}
		for _, e := range waiting {
			e.durable <- err
		}
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8081", "address")
	path := flag.String("log", "events.log", "file that events are appended to")
	flag.Parse()
	secret := []byte(os.Getenv("BENCH_SECRET"))
	if len(secret) == 0 {
		log.Fatal("BENCH_SECRET is not set")
	}
	file, err := os.OpenFile(*path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	s := &server{queue: make(chan *event, 1024), file: file}
	s.macs.New = func() any { return hmac.New(sha256.New, secret) }
	s.events.New = func() any { return &event{durable: make(chan error, 1)} }
	go s.commit()
	mux := http.NewServeMux()
	mux.HandleFunc("/hooks/bench", s.hook)
	web := &http.Server{Addr: *listen, Handler: mux}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		web.Shutdown(context.Background())
	}()
	if err := web.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
}
