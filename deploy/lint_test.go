package deploy_test

import (
	"io"
	"strings"

	"github.com/zegl/kube-score/config"
	"github.com/zegl/kube-score/domain"
	"github.com/zegl/kube-score/parser"
	"github.com/zegl/kube-score/score"
	"github.com/zegl/kube-score/score/checks"
	"github.com/zegl/kube-score/scorecard"
)

// notLinted are the checks that do not hold here, and why.
var notLinted = map[string]string{
	"container-image-pull-policy":         "tags are never moved, so what is there need not be pulled again",
	"deployment-has-host-podantiaffinity": "topologySpreadConstraints spread the pods",
}

// lint gives what kube-score finds in resources of Kubernetes itself. What a resource's
// annotation kube-score/ignore names is left out.
func lint(manifest string) (f faults) {
	options := &config.RunConfiguration{
		KubernetesVersion: config.Semver{Major: 1, Minor: 32},
		// A processor limit makes requests wait although a processor is idle.
		IgnoreContainerCpuLimitRequirement: true,
		UseIgnoreChecksAnnotation:          true,
		EnabledOptionalTests:               map[string]struct{}{"container-seccomp-profile": {}, "container-ports-check": {}},
		MinReplicasDeployment:              2,
		MinReplicasHPA:                     2,
	}
	ignored := map[string]struct{}{}
	for id := range notLinted {
		ignored[id] = struct{}{}
	}
	p, err := parser.New(&parser.Config{})
	if err != nil {
		return faults{err.Error()}
	}
	objects, err := p.ParseFiles([]domain.NamedReader{file{strings.NewReader(manifest)}})
	if err != nil {
		return faults{err.Error()}
	}
	card, err := score.Score(objects, score.RegisterAllChecks(objects, &checks.Config{IgnoredTests: ignored}, options), options)
	if err != nil {
		return faults{err.Error()}
	}
	for _, object := range *card {
		for _, c := range object.Checks {
			if c.Skipped || c.Grade >= scorecard.GradeAlmostOK {
				continue
			}
			f.add("%s: %s", object.HumanFriendlyRef(), c.Check.ID)
			for _, comment := range c.Comments {
				f.add("%s: %s: %s %s: %s", object.HumanFriendlyRef(), c.Check.ID, comment.Path, comment.Summary, comment.Description)
			}
		}
	}
	return f
}

// file is a manifest as kube-score wants it.
type file struct{ io.Reader }

func (file) Name() string { return "overlay" }
