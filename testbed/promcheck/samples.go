package main

import (
	"context"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// samples holds the input series of a test in memory, for the query engine.
type samples struct {
	storage.LabelQuerier
	series []storage.Series
}

// sample is a float at a time.
type sample struct {
	at    int64
	value float64
}

func (s sample) T() int64                      { return s.at }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.value }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

// newSamples reads series in promtool's notation, one value each step from the beginning of time.
func newSamples(series []inputSeries, step time.Duration) (*samples, error) {
	found := &samples{}
	for _, one := range series {
		name, values, err := promql.ParseSeriesDesc(one.Series + " " + one.Values)
		if err != nil {
			return nil, err
		}
		var points []chunks.Sample
		for index, value := range values {
			if !value.Omitted {
				points = append(points, sample{at: int64(index) * step.Milliseconds(), value: value.Value})
			}
		}
		found.series = append(found.series, storage.NewListSeries(name, points))
	}
	return found, nil
}

// Querier returns all series; the engine itself cuts what lies outside of its time.
func (s *samples) Querier(int64, int64) (storage.Querier, error) { return s, nil }

// Close has nothing to close.
func (s *samples) Close() error { return nil }

// Select returns the series that all matchers fit.
func (s *samples) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := &seriesSet{at: -1}
	for _, series := range s.series {
		if matches(series.Labels(), matchers) {
			set.series = append(set.series, series)
		}
	}
	return set
}

func matches(found labels.Labels, matchers []*labels.Matcher) bool {
	for _, matcher := range matchers {
		if !matcher.Matches(found.Get(matcher.Name)) {
			return false
		}
	}
	return true
}

type seriesSet struct {
	series []storage.Series
	at     int
}

func (s *seriesSet) Next() bool                        { s.at++; return s.at < len(s.series) }
func (s *seriesSet) At() storage.Series                { return s.series[s.at] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }
