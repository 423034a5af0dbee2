package simulator

import (
	"encoding/json"
	"strings"
)

// ownText is the text that is built in: a language, then what the user and the
// bot say in turn. They are short service dialogues in several scripts, with what
// breaks careless programs: combining marks, joined emoji, text that runs from
// right to left, line separators, control characters, quotes, backslashes, empty
// and blank messages.
var ownText = [][]string{
	{"en",
		"Hi, my parcel has not arrived. The number is 00417-B.",
		"I am sorry to hear that. Let me look it up.",
		"ok",
		"It is at the depot on Mill Lane. Would you like it delivered tomorrow, or will you collect it?",
		"tomorrow, after 5 pm please",
		"Done: tomorrow, 17:00\u201320:00. You will get a message an hour before.",
		"great, thx!! 👍🏽",
		"You're welcome."},
	{"en",
		"How do I export my data? I tried \"Settings\\Export\" & <File> but it's greyed out",
		"Three steps:\n1.\tOpen Settings\n2.\tChoose \"Privacy\"\n3.\tPress Export\n\nThe file is C:\\Users\\you\\export.json.",
		"",
		"Are you still there?",
		"   ",
		"I will close this chat in 5 minutes. {\"reason\": \"idle\", \"after\": 300}",
		"wait\r\nI'm back",
		"Good. Did the export work?",
		"yes 100%, it says \\o/ and \u0001\u001f\u007f at the end, strange",
		"Those are control characters. They do no harm."},
	{"cs",
		"Dobrý den, příliš žluťoučký kůň úpěl ďábelské ódy – a já chci vrátit boty.",
		"Dobrý den! Kdy jste zboží koupil(a)?",
		"Minulé úterý, účtenku mám.",
		"Výborně. Přineste je prosím do 14 dnů na kteroukoli prodejnu, peníze vrátíme hned.",
		"Děkuji moc, nashle",
		"Na shledanou a hezký den."},
	{"vi",
		"Chào bạn, mình muốn đổi vé ngày mai sang thứ Bảy được không?",
		"Dạ được ạ. Phí đổi vé là 50.000 đồng, bạn có đồng ý không?",
		"Đồng ý. Tên mình là Nguyễn Thị Ngọc Ánh.",
		"Xong rồi ạ! Vé mới đã được gửi qua email của bạn."},
	{"de",
		"Grüß Gott, wann öffnet die Filiale in der Weißgerbergasse?",
		"Montag bis Freitag von 9 bis 18\u00a0Uhr, samstags bis 13\u00a0Uhr.",
		"Und übermorgen? Da ist doch Feiertag…",
		"Richtig, übermorgen ist geschlossen. Soll ich Ihnen einen Termin für Freitag eintragen?",
		"ja, 9:30 Uhr",
		"Eingetragen. Bis Freitag um 9:30 Uhr!"},
	{"zh",
		"你好，我想订一个靠窗的位子，两个人，今晚七点。",
		"好的，请问贵姓？需要儿童座椅吗？",
		"姓欧阳，不需要。可以刷卡吗？",
		"可以。已为欧阳女士预订今晚七点靠窗双人位，座位保留十五分钟。",
		"太好了，謝謝！𠮷野家旁邊那家店對吧？",
		"是的，就在旁边，二楼。"},
	{"th",
		"สวัสดีค่ะ เน็ตที่บ้านใช้ไม่ได้ตั้งแต่เมื่อเช้า 😢",
		"ขออภัยในความไม่สะดวกค่ะ รบกวนแจ้งหมายเลขลูกค้าด้วยนะคะ",
		"หมายเลข ๑๒๓๔๕ ค่ะ รีสตาร์ทเราเตอร์แล้วก็ยังไม่ได้",
		"พบปัญหาที่ชุมสายค่ะ ช่างจะแก้ไขให้เสร็จก่อนบ่ายสองโมง",
		"ขอบคุณมากค่าาาา 🙏🏻",
		"ยินดีให้บริการค่ะ"},
	{"ar",
		"السلام عليكم، أريد تغيير كلمة المرور من فضلك",
		"وعليكم السلام! أرسلنا رمزًا من ٦ أرقام إلى هاتفك المنتهي بـ \u200e42\u200f.",
		"وصل الرمز: ٤٨١٥١٦",
		"شُكْرًا، يمكنك الآن اختيار كلمة مرور جديدة (Password).",
		"تمام ✅",
		"على الرحب والسعة."},
	{"hi",
		"नमस्ते, मेरी ट्रेन रद्द हो गई है। क्या पैसे वापस मिलेंगे?",
		"नमस्ते! जी हाँ, पूरी राशि ३ से ५ दिनों में लौटा दी जाएगी।",
		"क्षमा करें, किस खाते में?",
		"उसी खाते में जिससे टिकट ख़रीदा गया था।"},
	{"he",
		"שלום, אפשר לבטל את ההזמנה?",
		"בוודאי. ההזמנה בוטלה והכסף יוחזר תוך 3 ימי עסקים.",
		"תודה רבה!"},
	{"ja",
		"ｶﾞｿﾘﾝｶｰﾄﾞを失くしました。どうすればいいですか？",
		"ご不便をおかけします。カードをすぐに停止いたします。",
		"お願いします🙇‍♀️",
		"停止しました。新しいカードは１週間ほどで届きます。"},
	{"en",
		"👩‍👩‍👧‍👦 2 adults + 2 kids, how much? 🏳️‍🌈🎟️",
		"That is 36 €: 2 × 12 € and 2 × 6 €. Pay here?",
		"💳",
		"Paid. Show this code at the door: \U0001F511-\u00e9-e\u0301-Z\u0351\u036f\u0323\u0315\u034e",
		"first line\u2028second line\u2029third\u200bzero\ufeffwidth",
		"That came through in one piece."},
	{"en",
		"I want to talk to a human about my contract. " + strings.Repeat("It was changed without my consent and I have written twice already. ", 12),
		"I understand. I am handing you over to a colleague.",
		"thank you",
		"Hello, this is Ana from the contracts team. I have read your letters and the change is being reversed today; you will have it in writing by Friday."},
}

// ownDialogues returns the dialogues that are built in.
func ownDialogues() []dialogue {
	var dialogues []dialogue
	for _, text := range ownText {
		d := dialogue{Language: text[0]}
		for i, said := range text[1:] {
			d.Turns = append(d.Turns, turn{Speaker: [...]string{"user", "bot"}[i%2], Text: said})
		}
		dialogues = append(dialogues, d)
	}
	addCalls(dialogues)
	return dialogues
}

// addCalls puts calls of services on some of the bots' turns.
func addCalls(dialogues []dialogue) {
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	calls := []struct {
		dialogue, turn int
		call           call
	}{
		{0, 3, call{"parcel.track", raw(`{"number":"00417-B"}`), raw(`[{"status":"at_depot","depot":"Mill Lane","weight_kg":1.250,"attempts":2,"signed_by":null}]`)}},
		{0, 5, call{"parcel.deliver", raw(`{"number":"00417-B","from":"17:00","to":"20:00"}`), raw(`[{"ok":true,"job":9007199254740993}]`)}},
		{3, 3, call{"ticket.change", raw(`{"name":"Nguyễn Thị Ngọc Ánh","fee":50000}`), raw(`[]`)}},
		{5, 3, call{"餐厅.预订", raw(`{"姓名":"欧阳","人数":2,"靠窗":true}`), raw(`[{"桌号":"A-12","保留分钟":15}]`)}},
		{6, 3, call{"network.check", raw(`{"customer":"12345"}`), raw(`[{"fault":"exchange","eta":"14:00","score":0.9700000000000001}]`)}},
		{7, 1, call{"sms.code", raw(`{"to":"*42","digits":6}`), raw(`null`)}},
	}
	for _, c := range calls {
		t := &dialogues[c.dialogue].Turns[c.turn]
		t.Actions = append(t.Actions, c.call)
	}
}
