package feed

// Hold has notices wait until what is held is done.
func (p *Publisher) Hold(hold func(tell func())) { p.notices.after = hold }
