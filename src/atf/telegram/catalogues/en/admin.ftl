# While nothing is done for others than administrators.
bot-maintenance = ATF is being worked on. Please try again later; nothing is done until then.

# For administrators.
admin-words = these are no words for administrators
admin-one-name = needs the name of one user
admin-users = Users: { $count }
admin-pending = Waiting to be let in: { $count }
admin-nobody-waits = Nobody waits to be let in.
admin-is-active = { $name } is in already
admin-does-not-wait = { $name } does not wait to be let in; to shut a user out, at the machine: atf users disable { $name }
admin-approve-question = Let { $name } in, as a { $role }?
admin-approved = { $name } is in, and is told so.
admin-reject-question = Reject { $name }? The user is disabled then, and can be let in later.
admin-rejected = { $name } is rejected.
admin-role-words = needs the name of a user and a role
admin-role-question = Make { $name }, now a { $old }, a { $new }?
admin-role-set = { $name } is a { $role } now.
admin-limit-words = needs the name of a user, one of { $limits }, and a number or default; 0 is any amount
admin-limit-question = Set { $limit } of { $name } to { $number }?
admin-limit-set = { $limit } of { $name }: { $number }.
admin-no-text = needs a text
admin-broadcast-question = { $count ->
    [one] Send this to 1 person?
   *[other] Send this to { $count } people?
}
admin-announce-question = { $count ->
    [one] Put this into the inbox of 1 person, or the digest?
   *[other] Put this into the inboxes of { $count } people, and into the digests of those who have one?
}
admin-told = { $count ->
    [one] It is on its way to 1 person.
   *[other] It is on its way to { $count } people.
}
admin-maintenance-words = needs on, with a text if you want, or off
admin-maintenance-on-question = Do nothing for anybody but administrators until this is off? Everybody is told:
admin-maintenance-off-question = End maintenance, and answer everybody again?
admin-maintenance-begun = Maintenance is on. Administrators are answered as always; to end it: /admin maintenance off
admin-maintenance-ended = Maintenance is off. Everybody is answered again.
admin-maintenance-was-off = Maintenance was off already.
admin-button-users = Users
admin-button-pending = Who waits
admin-button-health = Health
admin-button-maintenance-on = Maintenance on
admin-button-maintenance-off = Maintenance off
admin-button-approve = Approve { $name }
admin-button-reject = Reject { $name }
user-status-active = active
user-status-pending = waits to be let in
user-status-disabled = disabled

# What others are told.
admin-let-in-title = You are in
admin-let-in-body = An administrator has let you in. /help lists what I understand.
admin-message-title = A message from your administrators

command-admin = users, messages to everybody, maintenance
help-admin = For administrators. users and pending list who is here and who waits; approve and reject decide about one who waits; role and setlimit say what a user may. broadcast sends a text to everybody, announce only puts it into inboxes and digests. health says how everything is. maintenance on answers everybody else with one sentence until it is off.
