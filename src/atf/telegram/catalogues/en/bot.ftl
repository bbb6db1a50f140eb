# What everybody may be told.
bot-stranger = Hello. This bot serves people who are known here. If you have an account, link it: make a link in your settings or ask an administrator for one, and send it here as /start TOKEN.
bot-stranger-register = Hello. This bot serves people who are known here. To become one send /register EMAIL; if you have an account already, send /start TOKEN with a link from your settings.
bot-welcome = Hello { $name }. ATF watches and tells you here.
bot-try-help = /help lists what I understand; an alert is as short as: /alert AAPL > 150
bot-help-head = What I understand. /help COMMAND explains one of them.
bot-unknown-command = I do not know that command. /help lists those there are.
bot-no-such-command = there is no command { $command } for you; /help lists those there are
bot-usage = Like this:
bot-say-it-now = Send it now, without a slash.
bot-broken = That went wrong here. It is in the log; please try again later.
bot-admins-only = only administrators may do this
bot-not-linked = this Telegram account belongs to no user here
bot-not-a-number = must be a number, got { $word }
bot-too-long = is too long; at most { $most } characters
bot-page = page { $page } of { $pages }

# Questions and their answers.
bot-yes = Yes
bot-no = No
bot-question-gone = This question was answered already, or is too old. Nothing was done.
bot-left-alone = All right, nothing was changed.
bot-interrupted = ATF was restarted while it did this: { $words }. Whether it was done is not known: look, and send it again if it was not.

# Linking and registering.
bot-linked = This Telegram account is linked. /help lists what I understand.
bot-unlink-question = Unlink this Telegram account? You will get no more messages here.
bot-unlinked = This Telegram account is not linked any more.
bot-one-address = one e-mail address is needed
bot-one-code = one code of 6 digits is needed
bot-alone-only = This is done in a private chat with me.
bot-code-sent = If this address can be used, a code is on its way to it. Send it within 10 minutes: /verify CODE
bot-registered = Welcome. You are registered, and this Telegram account is linked. /help lists what I understand.
bot-waits-for-approval = Thank you. An administrator has to let you in; you will be told here.
bot-code-title = Your code
bot-code-body = { $code } is your code. It holds for 10 minutes. If you did not ask for it, do nothing.

# Who one is, and how one is told.
bot-info-user = User:
bot-info-role = Role:
bot-info-language = Language:
bot-info-timezone = Time zone:
bot-info-digest = Digest:
bot-info-fallback = If a channel fails:
bot-digest-off = each message at once
bot-digest-every = every { $minutes } minutes what is not urgent
bot-settings-head = How you are told
bot-settings-words = these are no settings
bot-all-types = everything
bot-button-digest-on = Digest each hour
bot-button-digest-off = No digest
bot-button-test = Test
bot-button-alerts = Alerts
bot-button-help = Help
bot-test-sent = A test message to { $channel } is on its way.
bot-language-now = You read { $language }. Choose another:
bot-language-set = From now on I speak { $language } with you.
bot-timezone-now = Your time zone is { $timezone }. To change it: /timezone Europe/Berlin
bot-timezone-set = Your time zone is { $timezone } from now on.
bot-feedback-thanks = Thank you. The administrators have it.
language-en = English
language-de = German

# A line for each command in the menu, and what it is for.
command-start = begin, or link your account
help-start = Begins a conversation. With a token from your settings or from an administrator it links this Telegram account to your user.
command-help = what I understand
help-help = Lists the commands, or explains one.
command-feedback = tell the administrators something
help-feedback = Hands a message to the administrators.
command-register = become a user
help-register = Sends a code to your e-mail address; /verify CODE takes it back.
command-verify = take a code back
help-verify = Proves that the address of /register is yours.
command-info = who you are here
help-info = Shows your user, your role and how you are told.
command-language = in which language I speak
help-language = Shows the languages, or chooses one.
command-timezone = in which time zone you live
help-timezone = Shows your time zone, or sets it by its name such as Europe/Berlin.
command-settings = how you are told
help-settings = Shows and changes how messages reach you: which types here, digests, what happens if a channel fails.
command-unlink = unlink this account
help-unlink = Forgets that this Telegram account is yours.
