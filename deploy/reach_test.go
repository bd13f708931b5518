package deploy_test

import (
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// nameOf is the label of a namespace that Kubernetes gives it.
const nameOf = "kubernetes.io/metadata.name"

// peer is somebody who connects, or is connected to.
type peer struct {
	name      string
	namespace map[string]string // its labels
	pod       map[string]string
	ports     []corev1.ContainerPort
}

// The peers that are no pods of an overlay.
var (
	home      = map[string]string{nameOf: "convoview"}
	neighbour = peer{name: "another pod of the namespace", namespace: home, pod: map[string]string{"app": "shell"}}
	backend   = peer{name: "a backend", namespace: map[string]string{nameOf: "chat", "convoview/backend": "true"}}
	analyst   = peer{name: "an analyst", namespace: map[string]string{nameOf: "reports", "convoview/analyst": "true"}}
	watcher   = peer{name: "Prometheus", namespace: map[string]string{nameOf: "monitoring"}}
	altinity  = peer{name: "ClickHouse's operator", namespace: map[string]string{nameOf: "clickhouse-operator"}}
	stranger  = peer{name: "a stranger", namespace: map[string]string{nameOf: "default"}}
	resolver  = peer{name: "DNS", namespace: map[string]string{nameOf: "kube-system"}}
)

// admitted are those who reach a port from without; nobody else does. What Strimzi makes has
// policies of Strimzi's.
var admitted = map[string]map[int32][]peer{
	"Deployment projector":             {8080: {watcher}},
	"Deployment query":                 {8081: {watcher}},
	"StatefulSet kafka":                {9092: {neighbour, backend}},
	"StatefulSet clickhouse":           {9000: {neighbour, analyst}, 8123: {neighbour, analyst}, 9363: {watcher}},
	"StatefulSet nats":                 {4222: {neighbour, backend}, 8222: {}},
	"ClickHouseInstallation convoview": {9000: {neighbour, analyst, altinity}, 8123: {neighbour, analyst, altinity}, 9363: {watcher}},
	"chart nats":                       {4222: {neighbour, backend}, 6222: {}, 7777: {watcher}},
}

func (p pod) peer() peer {
	var ports []corev1.ContainerPort
	for _, container := range p.template.Spec.Containers {
		ports = append(ports, container.Ports...)
	}
	return peer{p.owner, home, p.template.Labels, ports}
}

// checkPolicies holds who reaches whom from without against who has to.
func (c *cluster) checkPolicies() (f faults) {
	for _, p := range slices.Concat(c.pods, c.servers) {
		to := p.peer()
		for _, v := range p.template.Spec.Containers[0].Env {
			if v.Name == "BOOTSTRAP_SERVER" { // of topics.sh
				if kafka, port, found := c.find(v.Value); !found || !c.reaches(to, kafka, port) || !c.resolves(to) {
					f.add("no NetworkPolicy lets %s reach %s", p.owner, v.Value)
				}
			}
		}
		who, known := admitted[p.owner]
		if !known && (len(to.ports) == 0 || strings.HasPrefix(p.owner, "Kafka ")) {
			continue
		}
		for _, port := range to.ports {
			allowed, known := who[port.ContainerPort]
			if !known {
				f.add("%s has the port %d, and nothing says who may reach it", p.owner, port.ContainerPort)
			}
			for _, from := range []peer{neighbour, backend, analyst, watcher, altinity, stranger} {
				want := slices.ContainsFunc(allowed, func(p peer) bool { return p.name == from.name })
				if got := c.reaches(from, to, port.ContainerPort); got != want {
					f.add("%s reaches port %d of %s: %t, expected %t", from.name, port.ContainerPort, p.owner, got, want)
				}
			}
		}
		// Servers that are several talk to each other.
		if p.owner == "chart nats" && !c.reaches(to, to, 6222) {
			f.add("%s does not reach itself at port 6222", p.owner)
		}
	}
	return f
}

// reaches says whether the NetworkPolicies of both let one pod connect to another.
func (c *cluster) reaches(from, to peer, port int32) bool {
	return c.lets(from, networkingv1.PolicyTypeEgress, to, to, port, corev1.ProtocolTCP) &&
		c.lets(to, networkingv1.PolicyTypeIngress, from, to, port, corev1.ProtocolTCP)
}

// resolves says whether a pod reaches DNS.
func (c *cluster) resolves(from peer) bool {
	return c.lets(from, networkingv1.PolicyTypeEgress, resolver, resolver, 53, corev1.ProtocolUDP) &&
		c.lets(from, networkingv1.PolicyTypeEgress, resolver, resolver, 53, corev1.ProtocolTCP)
}

// lets says whether the NetworkPolicies of a pod let it connect to another, or be connected to
// from there: without any for that direction, all do.
func (c *cluster) lets(of peer, direction networkingv1.PolicyType, other, to peer, port int32, protocol corev1.Protocol) bool {
	all := true
	for _, policy := range c.policies {
		if of.namespace[nameOf] != home[nameOf] || !selects(&policy.Spec.PodSelector, of.pod) || !slices.Contains(policy.Spec.PolicyTypes, direction) {
			continue
		}
		all = false
		if direction == networkingv1.PolicyTypeEgress {
			for _, rule := range policy.Spec.Egress {
				if includes(rule.To, other) && opens(rule.Ports, to, port, protocol) {
					return true
				}
			}
			continue
		}
		for _, rule := range policy.Spec.Ingress {
			if includes(rule.From, other) && opens(rule.Ports, to, port, protocol) {
				return true
			}
		}
	}
	return all
}

// includes says whether a rule is about a peer.
func includes(rule []networkingv1.NetworkPolicyPeer, p peer) bool {
	return len(rule) == 0 || slices.ContainsFunc(rule, func(r networkingv1.NetworkPolicyPeer) bool {
		here := p.namespace[nameOf] == home[nameOf]
		if r.NamespaceSelector != nil {
			here = selects(r.NamespaceSelector, p.namespace)
		}
		return r.IPBlock == nil && here && (r.PodSelector == nil || selects(r.PodSelector, p.pod))
	})
}

// opens says whether a rule is about a port, which it may have by the name at the pod.
func opens(rule []networkingv1.NetworkPolicyPort, to peer, port int32, protocol corev1.Protocol) bool {
	return len(rule) == 0 || slices.ContainsFunc(rule, func(r networkingv1.NetworkPolicyPort) bool {
		if r.Protocol == nil || *r.Protocol != protocol {
			return false
		}
		return r.Port == nil || r.Port.IntVal == port || slices.ContainsFunc(to.ports, func(p corev1.ContainerPort) bool {
			return p.ContainerPort == port && p.Name != "" && p.Name == r.Port.StrVal
		})
	})
}

func selects(selector *metav1.LabelSelector, of map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(of))
}

// find gives whoever listens at an address, which may be in another namespace.
func (c *cluster) find(address string) (to peer, port int32, found bool) {
	host, number, err := net.SplitHostPort(address)
	n, numberErr := strconv.Atoi(number)
	if err != nil || numberErr != nil {
		return peer{}, 0, false
	}
	labels := strings.Split(strings.TrimSuffix(host, ".cluster.local"), ".")
	if len(labels) == 3 && labels[2] == "svc" && labels[1] != home[nameOf] {
		return peer{name: host, namespace: map[string]string{nameOf: labels[1]}}, int32(n), true
	}
	name := strings.TrimSuffix(host, "."+home[nameOf]+".svc")
	if s := c.services[name]; s != nil {
		for _, p := range c.pods {
			if !selects(&metav1.LabelSelector{MatchLabels: s.Spec.Selector}, p.template.Labels) {
				continue
			}
			for _, at := range s.Spec.Ports {
				if target := containerPort(p.template.Spec.Containers[0], at.TargetPort.StrVal); at.Port == int32(n) && target != 0 {
					return p.peer(), target, true
				}
			}
		}
	}
	for _, p := range c.servers {
		kind, made, _ := strings.Cut(p.owner, " ")
		service := map[string]string{"Kafka": made + "-kafka-bootstrap", "ClickHouseInstallation": "clickhouse-" + made, "chart": made}[kind]
		if service == name && slices.ContainsFunc(p.peer().ports, func(p corev1.ContainerPort) bool { return p.ContainerPort == int32(n) }) {
			return p.peer(), int32(n), true
		}
	}
	return peer{}, 0, false
}
