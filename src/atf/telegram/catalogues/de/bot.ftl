# Was jeder erfahren darf.
bot-stranger = Guten Tag. Dieser Bot ist für Personen da, die hier bekannt sind. Ein bestehendes Konto lässt sich verknüpfen: einen Link in den Einstellungen erstellen oder bei der Administration erfragen und hier als /start TOKEN senden.
bot-stranger-register = Guten Tag. Dieser Bot ist für Personen da, die hier bekannt sind. Zum Anmelden /register E-MAIL senden; ein bestehendes Konto wird mit /start TOKEN und einem Link aus den Einstellungen verknüpft.
bot-welcome = Guten Tag { $name }. ATF beobachtet und meldet sich hier.
bot-try-help = /help zeigt alle Befehle; ein Alarm ist so kurz wie: /alert AAPL > 150
bot-help-head = Alle Befehle. /help BEFEHL erklärt einen davon.
bot-unknown-command = Diesen Befehl gibt es nicht. /help zeigt alle.
bot-no-such-command = es gibt hier keinen Befehl { $command }; /help zeigt alle
bot-usage = So geht es:
bot-say-it-now = Bitte jetzt senden, ohne Schrägstrich.
bot-broken = Das ist hier fehlgeschlagen. Es steht im Protokoll; bitte später noch einmal versuchen.
bot-admins-only = das ist der Administration vorbehalten
bot-not-linked = dieses Telegram-Konto gehört hier zu niemandem
bot-not-a-number = muss eine Zahl sein, nicht { $word }
bot-too-long = ist zu lang; höchstens { $most } Zeichen
bot-page = Seite { $page } von { $pages }

# Fragen und ihre Antworten.
bot-yes = Ja
bot-no = Nein
bot-question-gone = Diese Frage ist schon beantwortet oder zu alt. Es wurde nichts getan.
bot-left-alone = In Ordnung, es wurde nichts geändert.
bot-interrupted = ATF wurde neu gestartet, während dies lief: { $words }. Ob es erledigt ist, ist nicht bekannt: bitte nachsehen und andernfalls noch einmal senden.

# Verknüpfen und anmelden.
bot-linked = Dieses Telegram-Konto ist verknüpft. /help zeigt alle Befehle.
bot-unlink-question = Dieses Telegram-Konto trennen? Hier kommen dann keine Nachrichten mehr an.
bot-unlinked = Dieses Telegram-Konto ist nicht mehr verknüpft.
bot-one-address = es wird genau eine E-Mail-Adresse gebraucht
bot-one-code = es wird genau ein Code aus 6 Ziffern gebraucht
bot-alone-only = Das geht nur im privaten Chat mit dem Bot.
bot-code-sent = Wenn diese Adresse verwendet werden kann, ist ein Code dorthin unterwegs. Bitte innerhalb von 10 Minuten senden: /verify CODE
bot-registered = Willkommen. Die Anmeldung ist abgeschlossen und dieses Telegram-Konto verknüpft. /help zeigt alle Befehle.
bot-waits-for-approval = Danke. Die Administration muss noch zustimmen; die Antwort kommt hier an.
bot-code-title = Der Code
bot-code-body = Der Code lautet { $code }. Er gilt 10 Minuten. Wer ihn nicht angefordert hat, braucht nichts zu tun.

# Wer jemand ist und wie gemeldet wird.
bot-info-user = Benutzer:
bot-info-role = Rolle:
bot-info-language = Sprache:
bot-info-timezone = Zeitzone:
bot-info-digest = Sammelnachricht:
bot-info-fallback = Wenn ein Kanal ausfällt:
bot-digest-off = jede Nachricht sofort
bot-digest-every = alle { $minutes } Minuten, was nicht dringend ist
bot-settings-head = Wie gemeldet wird
bot-settings-words = das sind keine Einstellungen
bot-all-types = alles
bot-button-digest-on = Stündlich sammeln
bot-button-digest-off = Nicht sammeln
bot-button-test = Test
bot-button-alerts = Alarme
bot-button-help = Hilfe
bot-test-sent = Eine Testnachricht an { $channel } ist unterwegs.
bot-language-now = Die Sprache ist { $language }. Eine andere wählen:
bot-language-set = Ab jetzt ist die Sprache { $language }.
bot-timezone-now = Die Zeitzone ist { $timezone }. Ändern mit: /timezone Europe/Berlin
bot-timezone-set = Die Zeitzone ist ab jetzt { $timezone }.
bot-feedback-thanks = Danke. Die Nachricht ist bei der Administration.
language-en = Englisch
language-de = Deutsch

# Eine Zeile je Befehl im Menü und wozu er dient.
command-start = beginnen oder das Konto verknüpfen
help-start = Beginnt ein Gespräch. Mit einem Token aus den Einstellungen oder von der Administration wird dieses Telegram-Konto verknüpft.
command-help = alle Befehle
help-help = Zeigt die Befehle oder erklärt einen davon.
command-feedback = der Administration etwas mitteilen
help-feedback = Gibt eine Nachricht an die Administration weiter.
command-register = sich anmelden
help-register = Sendet einen Code an die E-Mail-Adresse; /verify CODE nimmt ihn entgegen.
command-verify = einen Code eingeben
help-verify = Weist nach, dass die Adresse von /register die eigene ist.
command-info = wer hier angemeldet ist
help-info = Zeigt Benutzer, Rolle und wie gemeldet wird.
command-language = die Sprache
help-language = Zeigt die Sprachen oder wählt eine.
command-timezone = die Zeitzone
help-timezone = Zeigt die Zeitzone oder setzt sie mit ihrem Namen wie Europe/Berlin.
command-settings = wie gemeldet wird
help-settings = Zeigt und ändert, wie Nachrichten ankommen: welche Arten hier, Sammelnachrichten, was bei Ausfall eines Kanals geschieht.
command-unlink = dieses Konto trennen
help-unlink = Vergisst, dass dieses Telegram-Konto zum Benutzer gehört.
