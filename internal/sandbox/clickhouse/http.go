package clickhouse

// HTTPURL is the URL of the HTTP interface.
func (s *Server) HTTPURL() string { return "http://" + s.web.Addr().String() }
