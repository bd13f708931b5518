// Package grafana has the dashboards of convoview. Its tests run the system under load,
// scrape it into Prometheus' own storage, and have Prometheus' own engine evaluate every
// panel, and the alerts in ../prometheus; it is a module of its own, so that nobody else
// needs Prometheus' code.
package grafana
