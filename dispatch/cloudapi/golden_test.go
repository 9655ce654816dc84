package cloudapi_test

import (
	"slices"
	"testing"
)

// TestParseWebhookFixtures states what every fixture becomes, item by item:
// its number, kind and the fields that matter. A fixture without a row fails.
func TestParseWebhookFixtures(t *testing.T) {
	t.Parallel()
	for _, name := range names(t, "webhooks") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, ok := golden[name]
			if !ok {
				t.Fatal("no expectation for this fixture")
			}
			var got []string
			for _, c := range parse(t, read(t, "webhooks/"+name)).Changes {
				for _, i := range c.Items {
					got = append(got, string(c.Number)+" "+describe(i))
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got\n%q\nwant\n%q", got, want)
			}
		})
	}
}

// golden holds one line an item, as describe writes it.
var golden = map[string][]string{
	"account_alert.json": {
		` acct account_alerts at=1795001020 waba=102290129340398`,
	},
	"account_deleted.json": {
		` acct account_update event=ACCOUNT_DELETED at=1795521844 waba=771209334881120`,
	},
	"account_disabled.json": {
		` acct account_update event=DISABLED_UPDATE at=1795000920 waba=102290129340398`,
	},
	"account_offboarded.json": {
		` acct account_update event=ACCOUNT_OFFBOARDED at=1795521842 waba=351902284467713`,
	},
	"account_partner_added.json": {
		` acct account_update event=PARTNER_ADDED at=1795000800 waba=980198427658004`,
	},
	"account_partner_app_uninstalled.json": {
		` acct account_update event=PARTNER_APP_UNINSTALLED at=1795000910 waba=184943124712545`,
	},
	"account_partner_removed.json": {
		` acct account_update event=PARTNER_REMOVED at=1795000900 waba=980198427658004`,
	},
	"account_reconnected.json": {
		` acct account_update event=ACCOUNT_RECONNECTED at=1795521843 waba=351902284467713`,
	},
	"account_restriction.json": {
		` acct account_update event=ACCOUNT_RESTRICTION at=1795000930 waba=102290129340398`,
	},
	"audio_voice.json": {
		`106540352242922 in audio at=1795435320 phone=16505559876 name=Pablo Morales`,
	},
	"business_capability.json": {
		` acct business_capability_update at=1795001010 waba=524126980791429`,
	},
	"business_username_update.json": {
		` acct business_username_updates at=1795001030 waba=102290129340398`,
	},
	"button_template_quick_reply.json": {
		`106540352242922 in button at=1795435390 phone=16505551234 name=Sheena Nelson text=Unsubscribe to=…MEQ5MkZDQjQA`,
	},
	"call_connect.json": {
		`106540352242922 acct calls at=never waba=102290129340398`,
	},
	"call_permission_reply.json": {
		`106540352242922 in interactive at=1795521825 phone=16505559876 name=Pablo Morales text=accept to=…OTM4ODUzRjYA`,
	},
	"calls_terminate_and_status.json": {
		`106540352242922 acct calls at=never waba=102290129340398`,
		`106540352242922 acct calls at=never waba=102290129340398`,
	},
	"contacts_contact_request.json": {
		`106540352242922 in contacts at=1795435375 phone=34600112233 user=ES.55120983471290845521 name=Lucía Gómez username=luciag text=+34 600 11 22 33`,
	},
	"contacts_shared.json": {
		`106540352242922 in contacts at=1795435370 phone=16505551234 name=Sheena Nelson text=Barbara J. Johnson`,
	},
	"contacts_vcard_other.json": {
		`106540352242922 in contacts at=1795521826 phone=34600112233 name=Lucía Gómez text=Marta`,
	},
	"document.json": {
		`241938562345019 in document at=1795435340 phone=447700900123 name=Kerry Fisher text=signed copy`,
	},
	"edit_text.json": {
		`106540352242922 in edit at=1795435480 phone=16505559876 name=Pablo Morales text=Yes, please change it to Saturday to=…NDEyMTRGQQA`,
	},
	"errors_value_level_130429.json": {
		`106540352242922 acct messages at=never waba=102290129340398`,
	},
	"group_image.json": {
		`106540352242922 in image group=true at=1795521680 phone=16505551234 user=US.13491208655302741918 name=Sheena Nelson`,
	},
	"group_participants_update.json": {
		`106540352242922 acct group_participants_update at=never waba=102290129340398`,
	},
	"group_text.json": {
		`106540352242922 in text group=true at=1795435490 phone=16505551234 user=US.13491208655302741918 name=Sheena Nelson text=Hello everyone`,
	},
	"history_chunk.json": {
		`287740991004455 acct history at=never waba=351902284467713`,
	},
	"history_declined.json": {
		`287740991004455 acct history at=never waba=351902284467713`,
	},
	"identity_changed_legacy.json": {
		`241938562345019 in system at=1697044706 phone=447700900123 name=Kerry Fisher text=User identity changed`,
	},
	"image_caption_url.json": {
		`106540352242922 in image at=1795435300 phone=16505551234 user=US.13491208655302741918 name=Sheena Nelson text=Taj Mahal`,
	},
	"image_forwarded.json": {
		`241938562345019 in image at=1795435305 phone=447700900123 name=Kerry Fisher`,
	},
	"interactive_button_reply.json": {
		`106540352242922 in interactive at=1795435400 phone=16505559876 name=Pablo Morales text=Change to=…NkEyRTA5RjMA`,
	},
	"interactive_list_reply.json": {
		`106540352242922 in interactive at=1795435410 phone=16505559876 name=Pablo Morales text=Priority Mail Express to=…NDg0RjdCMEQA`,
	},
	"interactive_nfm_reply_flow.json": {
		`106540352242922 in interactive at=1795435420 phone=16505551234 user=US.13491208655302741918 name=Sheena Nelson text=Sent to=…RkE0MjVCQTEA`,
	},
	"location.json": {
		`106540352242922 in location at=1795435360 phone=16505559876 name=Pablo Morales text=Solomon R. Guggenheim Museum to=…RTJCQjNDMTEA`,
	},
	"nfm_reply_address.json": {
		`530114982760144 in interactive at=1795521824 phone=919812345678 name=Priya Raman text=Priya\n +919812345678\n 400063, Goregaon, Mumbai to=…N0ExMUY4AA`,
	},
	"order.json": {
		`106540352242922 in order at=1795435430 phone=16505551234 name=Sheena Nelson text=Love these!`,
	},
	"order_many_items.json": {
		`530114982760144 in order at=1795521829 phone=919812345678 name=Priya Raman`,
	},
	"phone_number_quality_throughput.json": {
		` acct phone_number_quality_update event=THROUGHPUT_UPGRADE at=1795001000 waba=102290129340398`,
	},
	"phone_quality_legacy_flagged.json": {
		` acct phone_number_quality_update event=FLAGGED at=1608243062 waba=880480571844883`,
	},
	"reaction.json": {
		`106540352242922 in reaction at=1795435380 phone=16505551234 name=Sheena Nelson text=👍 to=…NDQ3NUI2QUEA`,
	},
	"reaction_removed.json": {
		`106540352242922 in reaction at=1795435381 phone=16505551234 name=Sheena Nelson to=…NDQ3NUI2QUEA`,
	},
	"request_welcome_legacy.json": {
		`106540352242922 in request_welcome at=1795435491 phone=16505551234 name=Sheena Nelson`,
	},
	"revoke.json": {
		`106540352242922 in revoke at=1795435470 phone=16505559876 user=US.20837465019283746501 name=Pablo Morales to=…QTkyNTFCRgA`,
	},
	"security_pin_changed.json": {
		` acct security event=PIN_CHANGED at=1795001040 waba=102290129340398`,
	},
	"smb_app_state_sync.json": {
		`287740991004455 acct smb_app_state_sync at=never waba=351902284467713`,
	},
	"smb_message_echo_text.json": {
		`287740991004455 in text echo=true at=1795435810 phone=27825550111 text=Your order has shipped!`,
	},
	"status_cbp_2023.json": {
		`409552778964973 st sent at=1673020317 phone=5511912345678 category=business_initiated`,
	},
	"status_delivered.json": {
		`106540352242922 st delivered at=1795435602 phone=16505551234 user=US.13491208655302741918 name=Sheena Nelson username=realsheenanelson category=utility pricing=regular owner=tenant-a message=01JDC8Q7V9YB6K3M5N2P4R8S0T attempt=1`,
	},
	"status_delivered_direct_send.json": {
		`106540352242922 st delivered at=1795435780 phone=16505559876 category=utility pricing=regular`,
	},
	"status_delivered_parent_bsuid.json": {
		`106540352242922 st delivered at=1795435790 phone=16505559876 user=US.13491208655302741918 parent=US.ENT.11815799212886844830 name=Pablo Morales username=pablomorales category=marketing pricing=regular`,
	},
	"status_delivered_service_billed_2026.json": {
		`106540352242922 st delivered at=1795435770 phone=16505559876 category=service pricing=regular`,
	},
	"status_delivered_service_free.json": {
		`106540352242922 st delivered at=1795435760 phone=16505559876 category=service pricing=free_customer_service`,
	},
	"status_failed_131026.json": {
		`241938562345019 st failed at=1795435720 phone=447700900123 code=131026`,
	},
	"status_failed_131047_opaque.json": {
		`241938562345019 st failed at=1795435710 phone=447700900123 code=131047 owner=tenant-b message=01JDC8R2M4 attempt=1`,
	},
	"status_failed_131049.json": {
		`106540352242922 st failed at=1795435700 phone=16505559876 code=131049`,
	},
	"status_failed_131053_media.json": {
		`409552778964973 st failed at=1795435730 phone=5511912345678 code=131053`,
	},
	"status_failed_132015_paced.json": {
		`106540352242922 st failed at=1795435740 phone=16505559876 code=132015`,
	},
	"status_played.json": {
		`106540352242922 st played at=1795435680 phone=16505559876`,
	},
	"status_read.json": {
		`106540352242922 st read at=1795435660 phone=16505551234 user=US.13491208655302741918 name=Sheena Nelson username=realsheenanelson owner=tenant-a message=01JDC8Q7V9YB6K3M5N2P4R8S0T attempt=1`,
	},
	"status_read_without_delivered.json": {
		`106540352242922 st read at=1795521740 phone=16505551234 category=marketing pricing=regular`,
	},
	"status_sent.json": {
		`106540352242922 st sent at=1795435600 phone=16505551234 user=US.13491208655302741918 name=Sheena Nelson category=utility pricing=regular owner=tenant-a message=01JDC8Q7V9YB6K3M5N2P4R8S0T attempt=1`,
	},
	"status_sent_free_entry_point.json": {
		`106540352242922 st sent at=1795435750 phone=16505551234 category=referral_conversion pricing=free_entry_point`,
	},
	"sticker.json": {
		`409552778964973 in sticker at=1795435350 phone=5511912345678 name=João Souza`,
	},
	"system_user_changed_number.json": {
		`106540352242922 in system at=1795435440 phone=12195555358 user=US.29847561203948576612 was=16505551234 wasuser=US.13491208655302741918 text=User Sheena Nelson changed from 16505551234 to 12195555358`,
	},
	"system_user_changed_user_id.json": {
		`106540352242922 in system at=1795435450 user=US.29847561203948576612 parent=US.ENT.20837465019283746502 wasuser=US.13491208655302741918 text=User Sheena Nelson changed from US.13491208655302741918 to US.29847561203948576612`,
	},
	"template_category_changed.json": {
		` acct template_category_update at=1795000720 waba=102290129340398`,
	},
	"template_category_impending.json": {
		` acct template_category_update at=1743451903 waba=419561257915477`,
	},
	"template_quality.json": {
		` acct message_template_quality_update at=1795000710 waba=102290129340398`,
	},
	"template_status_approved.json": {
		` acct message_template_status_update event=APPROVED at=1795000548 waba=102290129340398`,
	},
	"template_status_paused.json": {
		` acct message_template_status_update event=PAUSED at=1795000700 waba=102290129340398`,
	},
	"template_status_rejected.json": {
		` acct message_template_status_update event=REJECTED at=1795000600 waba=102290129340398`,
	},
	"text_basic.json": {
		`106540352242922 in text at=1795435200 phone=16505551234 name=Sheena Nelson text=Does it come in another color?`,
	},
	"text_bsuid_only.json": {
		`106540352242922 in text at=1795435222 user=US.13491208655302741918 parent=US.ENT.11815799212886844830 name=Sheena Nelson username=realsheenanelson text=Does it come in another color?`,
	},
	"text_context_reply.json": {
		`106540352242922 in text at=1795435240 phone=16505559876 user=US.20837465019283746501 name=Pablo Morales text=Yes, please change it to Friday to=…NEM1NjA5RUMA`,
	},
	"text_ctwa_referral.json": {
		`106540352242922 in text at=1795435280 phone=16505551234 user=US.13491208655302741918 name=Sheena Nelson text=Hello! Can I get more info on this?`,
	},
	"text_product_inquiry.json": {
		`106540352242922 in text at=1795435260 phone=16505551234 name=Sheena Nelson text=Is this still available? to=…X2lucXVpcnkA`,
	},
	"text_with_bsuid_and_phone.json": {
		`106540352242922 in text at=1795435211 phone=16505551234 user=US.13491208655302741918 name=Sheena Nelson username=realsheenanelson text=Hi, is the shop open tomorrow?`,
	},
	"two_changes_one_entry.json": {
		`106540352242922 in text at=1795435510 phone=16505551234 name=Sheena Nelson text=hello`,
		`106540352242922 st delivered at=1795435509 phone=16505551234 category=utility pricing=regular`,
	},
	"two_messages_one_change.json": {
		`106540352242922 in text at=1795435500 phone=16505551234 name=Sheena Nelson text=first`,
		`106540352242922 in text at=1795435501 phone=16505559876 name=Pablo Morales text=second`,
	},
	"unsupported_with_type.json": {
		`106540352242922 in unsupported at=1795435460 phone=16505551234 name=Sheena Nelson`,
	},
	"user_id_update_field.json": {
		`241938562345019 acct user_id_update at=never waba=419561257915477`,
	},
	"user_preferences_signup.json": {
		`106540352242922 acct user_preferences event=signup at=1731705721 waba=102290129340398`,
	},
	"user_preferences_stop.json": {
		`106540352242922 acct user_preferences event=stop at=1795435800 waba=102290129340398`,
	},
	"video.json": {
		`409552778964973 in video at=1795435330 phone=5511912345678 name=João Souza text=olha isso`,
	},
	"wire_text_unicode.json": {
		`106540352242922 in text at=1795436000 phone=34600112233 user=ES.55120983471290845521 name=Lucía Gómez text=¡Hola! ¿Está abierto? äöå 😀 a/b <ok> 50% @you`,
	},
}
