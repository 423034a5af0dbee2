package simulator

import "strconv"

// The payloads of what Netcore's bots send to be chosen from or bought.

func (r *netcoreRow) writeCard() {
	r.w.member("title", r.text())
	r.pick("type", "generic", "product")
	r.pick("subtitle", "", "From 1 290 Kč")
	r.object("image_url", func() { r.address("url", "png") })
	r.buttons(r.dice.below(3))
}

// writeCarousel writes the payload too: it is a list.
func (r *netcoreRow) writeCarousel() {
	r.objects("carousel", 1+r.dice.below(3), func(i int) {
		if i == 0 {
			r.w.member("title", r.text())
		} else {
			r.w.member("title", "Card "+strconv.Itoa(i+1))
		}
		r.pick("subtitle", "", "Doprava zdarma")
		r.address("image_url", "png")
		r.buttons(r.dice.below(3))
	})
}

// header writes a header of text.
func (r *netcoreRow) header() {
	r.object("header", func() {
		r.w.member("type", "text")
		r.pick("text", "Our offer", "Nabídka", "")
	})
}

// writeList writes the payload of list and of dynamicList.
func (r *netcoreRow) writeList() {
	w := r.w
	r.header()
	w.member("body", r.text())
	r.pick("footer", "", "Choose one")
	// Seen with and without the blank.
	description := pick(&r.dice, []string{" description", " description", "description"})
	r.object("actions", func() {
		r.pick("button_text", "Menu", "Výběr")
		r.objects("sections", 1+r.dice.below(2), func(i int) {
			w.member("title", "Section "+strconv.Itoa(i+1))
			r.objects("row", 1+r.dice.below(3), func(i int) {
				w.member("title", "Item "+strconv.Itoa(i+1))
				r.pick(description, "", "in stock", "skladem od pátku")
			})
		})
	})
}

func (r *netcoreRow) writeReply() {
	r.object("header", func() {
		if r.dice.oneIn(2) {
			r.w.member("type", "text")
			r.pick("text", "Our offer", "")
			return
		}
		r.pick("type", "image", "video", "document")
		r.address("url", "png")
	})
	r.w.member("body", r.text())
	r.pick("footer", "", "Choose one")
	r.object("action", func() {
		r.objects("buttons", 1+r.dice.below(3), func(i int) {
			r.w.member("type", "reply")
			r.pick("title", "Yes", "No", "Promluvit s člověkem")
			r.w.member("id", "b"+strconv.Itoa(i+1))
		})
	})
}

func (r *netcoreRow) writeDynamicReply() {
	r.header()
	r.w.member("body", r.text())
	r.pick("footer", "", "Choose one")
	r.object("actions", func() {
		r.objects("buttons", 1+r.dice.below(3), func(int) {
			r.w.member("type", "reply")
			r.pick("title", "Today", "Tomorrow", "Příští týden")
		})
	})
}

func (r *netcoreRow) writeOrder() {
	r.w.member("catalogId", strconv.FormatUint(r.dice.next()>>12, 10))
	r.w.member("text", r.text())
	r.objects("items", 1+r.dice.below(3), func(int) {
		r.retailer()
		r.pickRaw("quantity", "1", "3", `"2"`)
		r.pickRaw("price", "1290.00", `"1290.00"`, "0.1", "1.29e3")
		r.pick("currency", "CZK", "INR", "EUR")
		r.titles()
	})
}

func (r *netcoreRow) retailer() {
	r.w.member("retailerId", "SKU-"+strconv.Itoa(r.dice.below(1000)))
}

// titles writes what is shown of an item that can be bought.
func (r *netcoreRow) titles() {
	r.pick("title", "Boots", "Žluté boty", "鞋子")
	r.pick("subTitle", "", "size 42")
	r.address("image", "png")
}

func (r *netcoreRow) writeTemplate() {
	w := r.w
	r.pick("name", "order_update", "sale_2026")
	r.object("header", func() {
		if r.dice.oneIn(2) {
			w.member("type", "text")
			r.pick("text", "Your order", "Ваш заказ")
			return
		}
		w.member("type", "document")
		r.address("url", "pdf")
		r.pick("fileName", "faktura č. 7.pdf", "invoice.pdf")
		r.pick("caption", "", "The invoice")
	})
	w.member("body", r.text())
	r.pick("footer", "", "Reply STOP to opt out")
	r.objects("buttons", r.dice.below(3), func(int) {
		kind := pick(&r.dice, []string{"quick_reply", "url", "phone_number"})
		w.member("type", kind)
		r.pick("text", "Track", "Zavolat")
		switch kind {
		case "url":
			r.address("url", "html")
		case "phone_number":
			w.member("phoneNumber", "+420600000042")
		default:
			w.member("payload", "TRACK")
		}
	})
	r.pickRaw("campaignId", `"c-17"`, "null", "4711")
}

func (r *netcoreRow) writeProduct() {
	r.pickRaw("isDynamicProduct", "false", "true")
	r.w.member("body", r.text())
	r.pick("footer", "", "While stocks last")
	r.object("action", func() {
		r.w.member("catalogId", strconv.FormatUint(r.dice.next()>>12, 10))
		r.product()
	})
}

// product writes an item of a catalogue.
func (r *netcoreRow) product() {
	r.retailer()
	r.titles()
	r.pickRaw("price", "1290.00", `"1 290 Kč"`, "null")
}

func (r *netcoreRow) writeProducts() {
	r.pickRaw("isDynamicProduct", "false", "true")
	r.header()
	r.w.member("body", r.text())
	r.pick("footer", "", "While stocks last")
	r.object("action", func() {
		r.w.member("catalogId", strconv.FormatUint(r.dice.next()>>12, 10))
		r.objects("sections", 1+r.dice.below(2), func(i int) {
			r.w.member("title", "Section "+strconv.Itoa(i+1))
			r.objects("items", 1+r.dice.below(3), func(int) { r.product() })
		})
	})
}
