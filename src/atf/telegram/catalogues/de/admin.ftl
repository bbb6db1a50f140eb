bot-maintenance = An ATF wird gerade gearbeitet. Bitte später noch einmal versuchen; bis dahin wird nichts ausgeführt.

admin-words = damit kann /admin nichts anfangen
admin-one-name = gebraucht wird der Name eines Benutzers
admin-users = Benutzer: { $count }
admin-pending = Warten auf Zulassung: { $count }
admin-nobody-waits = Niemand wartet auf Zulassung.
admin-is-active = { $name } ist schon zugelassen
admin-does-not-wait = { $name } wartet nicht auf Zulassung; zum Sperren an der Maschine: atf users disable { $name }
admin-approve-question = { $name } zulassen, als { $role }?
admin-approved = { $name } ist zugelassen und erfährt es.
admin-reject-question = { $name } ablehnen? Das Konto wird gesperrt und kann später zugelassen werden.
admin-rejected = { $name } ist abgelehnt.
admin-role-words = gebraucht werden der Name eines Benutzers und eine Rolle
admin-role-question = { $name }, bisher { $old }, zu { $new } machen?
admin-role-set = { $name } ist jetzt { $role }.
admin-limit-words = gebraucht werden der Name eines Benutzers, eines von { $limits } und eine Zahl oder default; 0 heißt unbegrenzt
admin-limit-question = { $limit } von { $name } auf { $number } setzen?
admin-limit-set = { $limit } von { $name }: { $number }.
admin-no-text = gebraucht wird ein Text
admin-broadcast-question = { $count ->
    [one] Dies an 1 Person senden?
   *[other] Dies an { $count } Personen senden?
}
admin-announce-question = { $count ->
    [one] Dies 1 Person in den Posteingang oder die Sammelnachricht legen?
   *[other] Dies { $count } Personen in den Posteingang legen, und in die Sammelnachricht, wo es eine gibt?
}
admin-told = { $count ->
    [one] Es ist unterwegs an 1 Person.
   *[other] Es ist unterwegs an { $count } Personen.
}
admin-maintenance-words = gebraucht wird on, auf Wunsch mit einem Text, oder off
admin-maintenance-on-question = Nichts mehr ausführen außer für die Administration, bis dies aus ist? Alle anderen lesen:
admin-maintenance-off-question = Die Wartung beenden und allen wieder antworten?
admin-maintenance-begun = Die Wartung ist an. Für die Administration geht alles wie immer; beenden mit: /admin maintenance off
admin-maintenance-ended = Die Wartung ist aus. Alle bekommen wieder Antwort.
admin-maintenance-was-off = Die Wartung war schon aus.
admin-button-users = Benutzer
admin-button-pending = Wer wartet
admin-button-health = Zustand
admin-button-maintenance-on = Wartung an
admin-button-maintenance-off = Wartung aus
admin-button-approve = { $name } zulassen
admin-button-reject = { $name } ablehnen
user-status-active = aktiv
user-status-pending = wartet auf Zulassung
user-status-disabled = gesperrt

admin-let-in-title = Zugelassen
admin-let-in-body = Die Administration hat zugestimmt. /help zeigt alle Befehle.
admin-message-title = Eine Nachricht der Administration

command-admin = Benutzer, Nachrichten an alle, Wartung
help-admin = Für die Administration. users und pending zeigen, wer hier ist und wer wartet; approve und reject entscheiden über jemanden, der wartet; role und setlimit sagen, was ein Benutzer darf. broadcast sendet einen Text an alle, announce legt ihn nur in Posteingänge und Sammelnachrichten. health sagt, wie es um alles steht. maintenance on beantwortet alle anderen mit einem Satz, bis sie aus ist.
