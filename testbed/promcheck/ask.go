package main

import (
	"context"
	"encoding/json"
	"os"
	"time"
)

// question asks about samples that were taken once a minute.
type question struct {
	Series []struct {
		Series string `json:"series"`
		Values string `json:"values"`
	} `json:"series"`
	Minute      int      `json:"minute"`
	Rules       string   `json:"rules"`
	Expressions []string `json:"expressions"`
}

type answers struct {
	Firing  map[string][]string `json:"firing"`
	Results map[string]int      `json:"results"`
}

// answer evaluates the alerts of a rule file from the beginning of the samples, and expressions at the end.
func answer() []string {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return []string{err.Error()}
	}
	var series []inputSeries
	for _, one := range asked.Series {
		series = append(series, inputSeries{Series: one.Series, Values: one.Values})
	}
	samples, err := newSamples(series, time.Minute)
	if err != nil {
		return []string{err.Error()}
	}
	ask, done := asker(samples, time.Minute)
	defer done()
	until := time.Duration(asked.Minute) * time.Minute
	found := answers{Firing: map[string][]string{}, Results: map[string]int{}}
	if asked.Rules != "" {
		groups, wrong := readRules(asked.Rules)
		if groups == nil {
			return wrong
		}
		for _, group := range groups.Groups {
			for _, rule := range group.Rules {
				firing, err := fire(rule, ask, time.Minute, until)
				if err != nil {
					return []string{rule.Alert + ": " + err.Error()}
				}
				if len(firing) > 0 {
					found.Firing[rule.Alert] = firing
				}
			}
		}
	}
	for _, text := range asked.Expressions {
		result, err := ask(context.Background(), text, time.Unix(0, 0).Add(until))
		if err != nil {
			return []string{text + ": " + err.Error()}
		}
		found.Results[text] = len(result)
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		return []string{err.Error()}
	}
	return nil
}
