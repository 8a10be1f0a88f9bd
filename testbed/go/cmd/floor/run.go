package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

type run struct {
	options
	client         *kubernetes.Clientset
	label          string
	watchesOpened  atomic.Int64
	createdAt      []time.Time
	createDuration []float64
}

func (r *run) jobName(i int) string { return fmt.Sprintf("%s-%06d", r.label, i) }

func (r *run) selector() string { return "floor-run=" + r.label }

func (r *run) job(i int) *batchv1.Job {
	retries := int32(0)
	labels := map[string]string{"floor-run": r.label}
	container := corev1.Container{
		Name: "main", Image: "localhost/busybox:1", Command: []string{"true"},
		Env: []corev1.EnvVar{{Name: "ITEM", Value: fmt.Sprint(i)}},
	}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: r.jobName(i), Labels: labels},
		Spec: batchv1.JobSpec{
			BackoffLimit: &retries,
			Suspend:      &r.suspended,
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{container}},
			},
		},
	}
}

func (r *run) create(ctx context.Context) error {
	r.createdAt, r.createDuration = make([]time.Time, r.jobs), make([]float64, r.jobs)
	var next atomic.Int64
	var group errgroup.Group
	for range r.creators {
		group.Go(func() error {
			for i := int(next.Add(1)) - 1; i < r.jobs; i = int(next.Add(1)) - 1 {
				r.createdAt[i] = time.Now()
				if _, err := r.client.BatchV1().Jobs(r.namespace).Create(ctx, r.job(i), metav1.CreateOptions{}); err != nil {
					return err
				}
				r.createDuration[i] = time.Since(r.createdAt[i]).Seconds()
			}
			return nil
		})
	}
	return group.Wait()
}

func (r *run) createOnly(ctx context.Context, out *result) error {
	start := time.Now()
	if err := r.create(ctx); err != nil {
		return err
	}
	out.Seconds = time.Since(start).Seconds()
	out.CreatesPerSecond = float64(r.jobs) / out.Seconds
	out.CreateSeconds = quantilesOf(r.createDuration)
	return nil
}

// lifecycle times create -> Pod Succeeded -> Job Complete, both ends seen by this client.
func (r *run) lifecycle(ctx context.Context, out *result) error {
	jobs, err := r.observeJobs(ctx)
	if err != nil {
		return err
	}
	observers := []*observer{jobs}
	if r.watchPods {
		pods, err := r.observePods(ctx)
		if err != nil {
			return err
		}
		observers = append(observers, pods)
	}
	start := time.Now()
	if err := r.create(ctx); err != nil {
		return err
	}
	out.CreatesPerSecond = float64(r.jobs) / time.Since(start).Seconds()
	out.CreateSeconds = quantilesOf(r.createDuration)
	for _, o := range observers {
		select {
		case <-o.all:
		case <-ctx.Done():
			return fmt.Errorf("only %d of %d %s ended in time: %w", o.count(), r.jobs, o.what, ctx.Err())
		}
	}
	out.Seconds = time.Since(start).Seconds()
	out.JobsPerSecond = float64(r.jobs) / out.Seconds
	out.JobSeconds = quantilesOf(jobs.latencies(r))
	if r.watchPods {
		out.PodSeconds = quantilesOf(observers[1].latencies(r))
	}
	for _, o := range observers {
		out.WatchEvents += o.events.Load()
	}
	out.WatchesOpened = r.watchesOpened.Load()
	return nil
}

func (r *run) observeJobs(ctx context.Context) (*observer, error) {
	api := r.client.BatchV1().Jobs(r.namespace)
	list, err := api.List(ctx, metav1.ListOptions{LabelSelector: r.selector()})
	if err != nil {
		return nil, err
	}
	return r.observe(ctx, "Jobs", list.ResourceVersion, api.Watch, func(object runtime.Object) string {
		if job, ok := object.(*batchv1.Job); ok {
			for _, condition := range job.Status.Conditions {
				if condition.Type == batchv1.JobComplete && condition.Status == corev1.ConditionTrue {
					return job.Name
				}
			}
		}
		return ""
	})
}

func (r *run) observePods(ctx context.Context) (*observer, error) {
	api := r.client.CoreV1().Pods(r.namespace)
	list, err := api.List(ctx, metav1.ListOptions{LabelSelector: r.selector()})
	if err != nil {
		return nil, err
	}
	return r.observe(ctx, "Pods", list.ResourceVersion, api.Watch, func(object runtime.Object) string {
		if pod, ok := object.(*corev1.Pod); ok && pod.Status.Phase == corev1.PodSucceeded {
			return pod.Name[:strings.LastIndex(pod.Name, "-")] // the Job's name without the random suffix
		}
		return ""
	})
}

type watchFunc func(context.Context, metav1.ListOptions) (watch.Interface, error)

// observe uses a retrying watch: in a burst the API server closes a watch that falls behind, and
// it does so without an error event, so a plain watch would wait for ever.
func (r *run) observe(
	ctx context.Context, what, version string, open watchFunc, ended func(runtime.Object) string,
) (*observer, error) {
	source := &cache.ListWatch{
		WatchFuncWithContext: func(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
			r.watchesOpened.Add(1)
			options.LabelSelector = r.selector()
			return open(ctx, options)
		},
	}
	stream, err := watchtools.NewRetryWatcherWithContext(ctx, version, source)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s", what), err)
	}
	o := &observer{what: what, wanted: r.jobs, at: map[string]time.Time{}, all: make(chan struct{})}
	go o.consume(stream, ended)
	return o, nil
}
