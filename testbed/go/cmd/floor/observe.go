package main

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// observer notes when each Job, or its Pod, was first seen to have ended.
type observer struct {
	what   string
	wanted int
	events atomic.Int64
	all    chan struct{} // closed when every wanted object has ended

	mutex sync.Mutex
	at    map[string]time.Time
}

func (o *observer) consume(stream watch.Interface, ended func(runtime.Object) string) {
	for event := range stream.ResultChan() {
		o.events.Add(1)
		if name := ended(event.Object); name != "" {
			o.note(name)
		}
	}
}

func (o *observer) note(name string) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if _, seen := o.at[name]; seen {
		return
	}
	o.at[name] = time.Now()
	if len(o.at) == o.wanted {
		close(o.all)
	}
}

func (o *observer) count() int {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return len(o.at)
}

func (o *observer) latencies(r *run) []float64 {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	var seconds []float64
	for i, created := range r.createdAt {
		if at, seen := o.at[r.jobName(i)]; seen {
			seconds = append(seconds, at.Sub(created).Seconds())
		}
	}
	return seconds
}

type quantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func quantilesOf(seconds []float64) quantiles {
	if len(seconds) == 0 {
		return quantiles{}
	}
	sorted := slices.Sorted(slices.Values(seconds))
	at := func(share float64) float64 { return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))] }
	return quantiles{P50: at(.5), P95: at(.95), P99: at(.99), Max: sorted[len(sorted)-1]}
}
