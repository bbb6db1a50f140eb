# Was mehrere Befehle sagen.
bot-too-slow = Das dauert länger als { $seconds } Sekunden und wurde abgebrochen. Bitte gleich noch einmal versuchen.
bot-no-charts = Hier gibt es keine Diagramme; wer ATF betreibt, kann die Erweiterung nachrüsten: charts
bot-button-previous = ‹ Zurück
bot-button-next = Weiter ›

# Alarme.
alerts-made = Ab jetzt unter Beobachtung.
alerts-none = Es gibt noch keine Alarme. Einer ist so kurz wie: /alert AAPL > 150
alerts-head = Alarme: { $count }
alerts-words = damit ist bei Alarmen nichts anzufangen
alerts-no-such = es gibt keinen Alarm { $id }
alerts-card-head = Alarm { $id }: { $name }
alerts-unreadable = Die Konfiguration ist nicht lesbar, deshalb wird er nicht ausgewertet.
alerts-unreadable-short = nicht lesbar
alerts-live = Er betrachtet auch Kerzen, die noch nicht abgeschlossen sind: Was er meldet, kann bei deren Schluss schon nicht mehr stimmen.
alerts-field-status = Zustand:
alerts-field-fires = Löst aus:
alerts-field-tells = Meldet an:
alerts-field-ends = Endet:
alerts-field-does = Tut außerdem:
alerts-field-last-trigger = Zuletzt ausgelöst:
alerts-field-last-value = Letzter Wert:
alerts-field-next-look = Nächster Blick:
alerts-status-armed = bereit
alerts-status-pending = zählt Kerzen
alerts-status-triggered = ausgelöst, noch nicht wieder bereit
alerts-status-cooldown = in der Ruhezeit nach dem Auslösen
alerts-status-completed = erledigt
alerts-status-expired = abgelaufen
alerts-status-paused = angehalten
alerts-data-missing = ein Wert fehlte
alerts-data-stale = es kommen keine neuen Kerzen
alerts-quiet = stumm
alerts-quiet-until = stumm bis { $time }
alerts-fires-simple = bei jeder Kerze, auf die es zutrifft
alerts-fires-edge = jedes Mal, wenn es wahr wird
alerts-fires-persistence = jedes Mal, wenn es wahr wird
alerts-fires-hysteresis = jedes Mal, wenn es wahr wird, nachdem der Wert { $far } von der Schwelle entfernt war
alerts-fires-crossing = jedes Mal, wenn es wahr wird, nachdem der Wert auf der anderen Seite war
alerts-fires-cooldown = solange es wahr ist
alerts-fires-bars = nach { $bars } zutreffenden Kerzen hintereinander
alerts-fires-span = höchstens einmal in { $span }
alerts-after-triggers = { $count ->
    [one] nach einem Auslösen
   *[other] nach { $count } Auslösungen
}
alerts-or = oder
alerts-never = noch nie
alerts-trigger = Nr. { $number }, Kerze vom { $bar }
alerts-trigger-seen = Nr. { $number }, Kerze vom { $bar } (zur Kenntnis genommen)
alerts-value = { $values }, Kerze vom { $bar }
alerts-not-looked-yet = noch keiner
alerts-paused = Alarm { $id } ist angehalten. Was in der Zwischenzeit geschieht, löst ihn nie aus.
alerts-resumed = Alarm { $id } beobachtet ab jetzt wieder.
alerts-snoozed = Alarm { $id } ist stumm bis { $time }. Festgehalten wird weiterhin, wann er auslöst.
alerts-unsnoozed = Alarm { $id } meldet sich wieder.
alerts-acknowledged = { $count ->
    [0] Bei Alarm { $id } gab es nichts Neues.
    [one] Eine Auslösung von Alarm { $id } ist zur Kenntnis genommen.
   *[other] { $count } Auslösungen von Alarm { $id } sind zur Kenntnis genommen.
}
alerts-delete-question = Alarm { $id } löschen ({ $alert })?
alerts-deleted = Alarm { $id } ist gelöscht. Was er ausgelöst hat, bleibt festgehalten.
alerts-snooze-span = muss zwischen 15m und 30d liegen, zum Beispiel 2h, nicht { $span }
alerts-no-time = muss ein Zeitpunkt sein wie 2026-01-05 15:00Z, nicht { $words }
alerts-would-have = { $count ->
    [0] Er hätte auf { $bars } Kerzen vom { $since } bis zum { $until } nicht ausgelöst.
    [one] Er hätte auf { $bars } Kerzen vom { $since } bis zum { $until } einmal ausgelöst.
   *[other] Er hätte auf { $bars } Kerzen vom { $since } bis zum { $until } { $count }-mal ausgelöst.
}
alerts-would-have-last = Zuletzt: { $bar }.
alerts-button-list = Meine Alarme
alerts-button-show = Alarm { $id }
alerts-button-pause = Anhalten
alerts-button-resume = Fortsetzen
alerts-button-snooze1h = 1 Std. stumm
alerts-button-snooze1d = 1 Tag stumm
alerts-button-unsnooze = Wieder melden
alerts-button-ack = Zur Kenntnis
alerts-button-explain = Warum?
alerts-button-chart = Diagramm
alerts-button-delete = Löschen

# Kurse.
prices-tickers = braucht 1 bis { $most } Kürzel und dahinter auf Wunsch eine Zeiteinheit
prices-one-ticker = braucht ein Kürzel und dahinter auf Wunsch eine Zeiteinheit
prices-timeframe = muss eines von { $allowed } sein, nicht { $word }
prices-bar = { $timeframe }-Kerze, abgeschlossen { $time }; davor { $before }
prices-day = { $timeframe }-Kerze vom { $date }, abgeschlossen { $time }; davor { $before }
prices-since-day = { $change } seit dem Schluss vom { $date }
prices-stale = Vielleicht gibt es neuere Kerzen: Im Moment antwortet kein Anbieter.
prices-unknown = dieses Kürzel kennt hier niemand
prices-unknown-at = { $ticker } mit Kerzen von { $timeframe } kennt hier niemand
prices-late = Die Kerzen von { $ticker } kamen nicht rechtzeitig. Bitte gleich noch einmal versuchen.
prices-late-here = die Kerzen kamen nicht rechtzeitig; bitte gleich noch einmal versuchen
prices-none-yet = Von { $ticker } ist noch keine Kerze abgeschlossen.
prices-none-yet-here = noch keine Kerze ist abgeschlossen

# Eine Zeile je Befehl im Menü und wozu er dient.
command-alert = etwas beobachten: /alert AAPL > 150
help-alert = Macht aus einer Zeile einen Alarm: was beobachtet wird, die Zeiteinheit, wenn sie nicht 1m ist, und wann gemeldet wird. Zum Beispiel: AAPL > 150, oder: AAPL 1h: rsi(14) > 70 and close crosses above ema(50), cooldown 5m. Er meldet sich hier und im Posteingang, außer die Zeile sagt mit notify etwas anderes.
command-alerts = alle Alarme und was mit ihnen zu tun ist
help-alerts = Zeigt die Alarme, die neuesten zuerst, oder einen davon: /alerts 7. Mit einem Wort vor der Nummer geschieht etwas: pause, resume, delete, explain und chart, snooze 7 2h (meldet nichts, 15m bis 30d lang), unsnooze, ack. Eine weitere Seite: /alerts page 2.
command-price = was etwas kostet
help-price = Sagt den neuesten Schlusskurs von 1 bis 5 Kürzeln und wie er sich verändert hat: /price AAPL BTC/USDT. Mit einer Zeiteinheit am Ende gelten deren Kerzen: /price AAPL 1h.
command-chart = ein Diagramm der neuesten Kerzen
help-chart = Zeichnet die neuesten Kerzen eines Kürzels, Tage, wenn keine Zeiteinheit dabeisteht: /chart AAPL 1h.
