// Command floor measures the honest upper bound of a cluster: plain client-go with no client-side
// rate limit. A product that creates Jobs cannot be faster than this on the same machine.
//
// It prints one JSON line; times are seconds.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

type options struct {
	kubeconfig, namespace string
	jobs, creators        int
	suspended, watchPods  bool
	timeout               time.Duration
}

// result is the JSON line; testbed/floor.py reads the same names.
type result struct {
	Jobs             int                `json:"jobs"`
	Creators         int                `json:"creators"`
	Suspended        bool               `json:"suspended"`
	Seconds          float64            `json:"seconds"`
	JobsPerSecond    float64            `json:"jobs_per_second"`
	CreatesPerSecond float64            `json:"creates_per_second"`
	CreateSeconds    quantiles          `json:"create_seconds"`
	PodSeconds       quantiles          `json:"pod_seconds"`
	JobSeconds       quantiles          `json:"job_seconds"`
	WatchesOpened    int64              `json:"watches_opened"`
	WatchEvents      int64              `json:"watch_events"`
	Requests         map[string]float64 `json:"requests"`
	RequestsPerJob   float64            `json:"requests_per_job"`
}

func main() {
	var opt options
	flag.StringVar(&opt.kubeconfig, "kubeconfig", "", "path of a kubeconfig that may create namespaces and Jobs")
	flag.StringVar(&opt.namespace, "namespace", "floor", "namespace to use; created when missing")
	flag.IntVar(&opt.jobs, "jobs", 1000, "number of one-pod Jobs")
	flag.IntVar(&opt.creators, "creators", 32, "creates in flight at once")
	flag.BoolVar(&opt.suspended, "suspended", false, "only create suspended Jobs: the floor of creation alone")
	flag.BoolVar(&opt.watchPods, "watch-pods", true, "watch Pods as well as Jobs, as the product does")
	flag.DurationVar(&opt.timeout, "timeout", 10*time.Minute, "give up after this time")
	flag.Parse()
	out, err := measure(opt)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func measure(opt options) (*result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), opt.timeout)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", opt.kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // no client-side limit
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	if err := ensureNamespace(ctx, client, opt.namespace); err != nil {
		return nil, err
	}
	before, err := requestCounts(ctx, config)
	if err != nil {
		return nil, err
	}
	out := &result{Jobs: opt.jobs, Creators: opt.creators, Suspended: opt.suspended}
	r := &run{options: opt, client: client, label: fmt.Sprintf("r%d", time.Now().UnixMilli())}
	if opt.suspended {
		err = r.createOnly(ctx, out)
	} else {
		err = r.lifecycle(ctx, out)
	}
	if err != nil {
		return nil, err
	}
	return out, out.countRequests(ctx, config, before)
}

func (out *result) countRequests(ctx context.Context, config *rest.Config, before map[string]float64) error {
	after, err := requestCounts(ctx, config)
	if err != nil {
		return err
	}
	out.Requests = map[string]float64{}
	total := 0.0
	for key, value := range after {
		if increase := value - before[key]; increase > 0 {
			out.Requests[key] = increase
			total += increase
		}
	}
	out.RequestsPerJob = total / float64(out.Jobs)
	return nil
}

func ensureNamespace(ctx context.Context, client *kubernetes.Clientset, name string) error {
	if _, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{}); err != nil {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	for { // pods are refused until the namespace's default ServiceAccount exists
		_, err := client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no default ServiceAccount in namespace %s: %w", name, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
