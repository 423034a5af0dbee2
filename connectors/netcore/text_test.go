package netcore

import (
	"bytes"
	"testing"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/events/eventtest"
)

// textCases are payloads of all documented types, and what a person reads of them.
var textCases = []struct{ kind, snake, payload, text string }{
	{"text", "text", `{"message":" hi\n","buttons":[{"title":"Yes"}],"isRating":false}`, " hi\n"},
	{"text", "text", `{"message":5}`, "5"},
	{"attachment", "attachment", `{"contentType":"image/png","contentUrl":"https://cdn.example.com/a/soubor%20%C4%8D.png?v=1#x"}`, "soubor č.png"},
	{"attachment", "attachment", `{"contentType":"image/png","contentUrl":"https://cdn.example.com/"}`, "image/png"},
	{"card", "card", `{"title":"Boots","type":"product","subtitle":"From 1 290 Kč","image_url":{"url":"https://x/y.png"},"buttons":[]}`, "Boots\nFrom 1 290 Kč"},
	{"audio", "audio", `{"url":"https://x/f/voice.ogg?sig=1"}`, "voice.ogg"},
	{"video", "video", `{"url":"https://x/f/clip.mp4","caption":"Look"}`, "Look"},
	{"image", "image", `{"url":"https://x/f/i.png"}`, "i.png"},
	{"pdf", "pdf", `{"url":"https://x/f/%zz.pdf"}`, ""},
	{"pdf", "pdf", `{"url":"https://x/f/invoice.pdf"}`, "invoice.pdf"},
	{"doc", "doc", `{"url":"f.doc"}`, "f.doc"},
	{"xls", "xls", `{"url":"https://x/f.xls/"}`, "f.xls"},
	{"ppt", "ppt", `{"url":"https://x/f.ppt"}`, "f.ppt"},
	{"location", "location", `{"longitude":14.4208,"latitude":"50.0880","label":"Depot","address":"Mill Lane 12/3"}`, "Depot\nMill Lane 12/3"},
	{"location", "location", `{"longitude":14.4208,"latitude":"50.0880","label":"","address":null}`, "50.0880, 14.4208"},
	{"location", "location", `{"longitude":14.4208}`, ""},
	{"contact", "contact", `{"phoneNumber":"+420600000042","firstName":"Jana","lastName":"Nováková","vcard":"BEGIN"}`, "Jana Nováková, +420600000042"},
	{"form", "form", `{"botId":"b","name":"contact","title":"Who are you?","description":"Fields with * are needed.","formElements":[{"label":"Name"}]}`, "Who are you?\nFields with * are needed."},
	{"form", "form", `{"name":"contact"}`, "contact"},
	{"formResponse", "form_response", `{"formTranscriptId":"f","answerMapping":{"name":"Jana","age":42,"likes":["A","B"],"none":null,"odd":{}}}`, "name: Jana\nage: 42\nlikes: A, B"},
	{"carousel", "carousel", `[{"title":"Boots","subtitle":"warm","buttons":[]},{"title":"Hat"},{"subtitle":"of wool"},5]`, "Boots: warm\nHat\nof wool"},
	{
		"list", "list", `{"header":{"type":"text","text":"Our offer"},"body":"Choose","footer":"Thanks","actions":{"button_text":"Menu","sections":[{"title":"S","row":[{"title":"A"," description":"in stock"},{"title":"B","description":"sold out"},{"title":"C"}]},{"title":"T","row":[{"title":"D"}]}]}}`,
		"Our offer\nChoose\nA: in stock\nB: sold out\nC\nD\nThanks",
	},
	{"reply", "reply", `{"header":{"type":"image","url":"https://x/y.png"},"body":"Sure?","footer":"","action":{"buttons":[{"title":"Yes"}]}}`, "y.png\nSure?"},
	{"order", "order", `{"catalogId":"1","text":"Quick please","items":[{"retailerId":"a"},{},{}]}`, "Quick please\norder of 3 items"},
	{"order", "order", `{"items":[{"retailerId":"a"}]}`, "order of 1 item"},
	{"template", "template", `{"name":"sale","header":{"type":"document","url":"https://x/a.pdf","fileName":"faktura č. 7.pdf","caption":"The invoice"},"body":"Hello","footer":"Reply STOP"}`, "The invoice\nHello\nReply STOP"},
	{"template", "template", `{"name":"sale","header":{"type":"document","fileName":"faktura č. 7.pdf"},"body":{"text":"Hello"}}`, "faktura č. 7.pdf\nHello"},
	{"template", "template", `{"name":"sale"}`, "sale"},
	{"productSingle", "product_single", `{"isDynamicProduct":false,"body":"For you","footer":"While stocks last","action":{"catalogId":"1","title":"Boots","subTitle":"size 42","price":1290}}`, "For you\nBoots: size 42\nWhile stocks last"},
	{"productMulti", "product_multi", `{"header":{"type":"text","text":"Sale"},"body":"For you","action":{"sections":[{"title":"S","items":[{"title":"Boots"},{"title":"Hat","subTitle":"wool"}]}]}}`, "Sale\nFor you\nBoots\nHat: wool"},
	{"dynamicList", "dynamic_list", `{"header":"Slots","body":{"text":"When?"},"actions":{"sections":[{"row":[{"title":"9:00"}]}]}}`, "Slots\nWhen?\n9:00"},
	{"dynamicReply", "dynamic_reply", `{"header":{"type":"text","text":""},"body":"When?","footer":"Choose one","actions":{"buttons":[{"title":"Today"}]}}`, "When?\nChoose one"},
	{"stickerPack", "sticker_pack", `{"label":"a cat","id":7}`, "a cat"},
}

func TestTexts(t *testing.T) {
	validate := eventtest.Schemas(t)
	seen := map[string]bool{}
	for _, c := range textCases {
		seen[c.kind] = true
		for _, row := range []string{
			`{"from":"User","type":"` + c.kind + `","` + c.kind + `":` + c.payload + `}`,
			`{"` + c.kind + `":` + c.payload + `,"type":"` + c.kind + `","from":"User"}`,
		} {
			want := `"user_id":"u","bot":"app","channel":"whatsapp","sender":"user","direction":"inbound","kind":"` + c.snake + `"`
			if c.text != "" {
				want += `,"text":` + string(quoted(c.text))
			}
			want += `,"payload":` + c.payload
			if got := mapTranscript(t, validate, row); string(got.Members) != want {
				t.Errorf("%s:\n got %s\nwant %s", row, got.Members, want)
			}
		}
	}
	if len(texts) != 23 {
		t.Errorf("there are %d types, and 23 are documented", len(texts))
	}
	for kind := range texts {
		if !seen[kind] {
			t.Errorf("the type %s is not tried", kind)
		}
	}
}

// What is odd about a row leaves its text out, and is no error.
func TestOddPayloads(t *testing.T) {
	validate := eventtest.Schemas(t)
	for kind := range texts {
		for _, payload := range []string{
			"", "null", "5", "true", `""`, `"text"`, "[]", "{}", `[5,null,"a",[]]`, `{"message":{},"title":[],"url":5.5e1,"label":null}`,
			`{"header":5,"body":[],"footer":{"text":{}},"items":{},"action":[{}],"actions":{"sections":[5,{"row":{}}]},"answerMapping":[]}`,
		} {
			row := `{"type":"` + kind + `"}`
			if payload != "" {
				row = `{"type":"` + kind + `","` + kind + `":` + payload + `}`
			}
			r := mapTranscript(t, validate, row)
			if (payload == "" || payload == "null") == bytes.Contains(r.Members, []byte(`"payload":`)) {
				t.Errorf("%s: %s", row, r.Members)
			}
			scalar := payload == "" || payload[0] != '{' && payload[0] != '['
			if scalar && bytes.Contains(r.Members, []byte(`"text":`)) {
				t.Errorf("%s: %s", row, r.Members)
			}
		}
	}
	for _, kind := range []string{"from", "type", "createdAt", "updatedAt", ""} {
		row := `{"from":{},"createdAt":{"text":"x"},"updatedAt":{"text":"x"},"":5,"type":"` + kind + `"}`
		if r := mapTranscript(t, validate, row); bytes.Contains(r.Members, []byte(`"payload":`)) {
			t.Errorf("%s: %s", row, r.Members)
		}
	}
}

// mapTranscript maps a row of a user, whose event has to be what the catalogue
// promises.
func mapTranscript(t testing.TB, validate func(testing.TB, *events.Event), row string) events.Record {
	t.Helper()
	p := &transcriptPager{listing: &listing{api: &api{app: "app"}}}
	f := &connectors.Fields{Key: connectors.Key{ID: key{1014, "+91", "u"}.id()}}
	r := connectors.Mapper(p.record).Map([]byte(row), f)
	if r.Dead != nil {
		t.Fatalf("%s: %+v", row, r.Dead)
	}
	validate(t, &events.Event{Type: r.Type, Members: r.Members, Raw: r.Raw})
	return r
}
