"""Settings of the example shop. Everything that it writes is in one folder, ``var/``."""

import os
from pathlib import Path

import django

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(os.environ.get("SHOP_VAR", BASE_DIR / "var")).resolve()
VAR_MARK = VAR / ".made-by-the-shop"
# The demo deletes what is in the folder, so it has to know that nobody else put it there.
if not VAR.exists() or not any(VAR.iterdir()):
    VAR.mkdir(parents=True, exist_ok=True)
    VAR_MARK.touch()

SECRET_KEY = "demo-only-and-known-to-everybody"
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "shop",
    "django_signal_kit",
    "django_signal_kit.audit",
    "django_signal_kit.mail",
    "django_signal_kit.tasks",
    "django_tasks_db",
    # The page "Signals" of the admin.
    "django_signal_kit.sight",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # Tells the receivers who makes the request, so it comes after whoever finds that out.
    "django_signal_kit.middleware.RequestContextMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "shop.caching.ShowCache",
]

# Where the links in mails lead. The demo writes down the port that it is told, for the worker.
ADDRESS = VAR / "address.txt"
SHOP_URL = ADDRESS.read_text() if ADDRESS.exists() else "http://127.0.0.1:8000"

# How the audit log hears of changes: by "python", or by "triggers" of the database. The demo
# writes down which it is told, for what runs afterwards. Triggers are made by "migrate", and
# dropped by it once the word is another.
CAPTURE_NOTE = VAR / "capture.txt"
CAPTURE = CAPTURE_NOTE.read_text().strip() if CAPTURE_NOTE.exists() else "python"
# What a row is called whose name is not made of its own columns: a trigger sees nothing else.
OBJECT_TEXT = {
    "shop.OrderLine": "{quantity} x product {product}",
    "shop.Profile": "Profile of user {user}",
}

SIGNAL_KIT = {
    "RECEIVERS": [
        {
            # An abstract model means all the models that inherit from it.
            "RECEIVER": "django_signal_kit.receivers.LastModified",
            "OPTIONS": {
                "models": ["shop.models.Stamped"],
                "field": "updated_at",
                "by_field": "updated_by",
                "created_field": "created_at",
            },
        },
        {
            "RECEIVER": "django_signal_kit.receivers.AuditLog",
            "OPTIONS": {
                "models": ["shop.*"],
                "capture": CAPTURE,
                "object_text": OBJECT_TEXT if CAPTURE == "triggers" else {},
                # Nobody edits the table of cities: it is replaced as a whole, from its source.
                # An entry for each of its rows would bury what people did.
                "exclude": ["shop.Destination"],
                # What M2MCount keeps is no news. Stamps need not be named: an update does not
                # tell of them, since its entry has a time and an actor of its own.
                "exclude_fields": ["product_count"],
            },
        },
        {
            "RECEIVER": "django_signal_kit.receivers.CacheInvalidation",
            "NAME": "ProductPages",
            "OPTIONS": {
                "models": ["shop.Product"],
                # What has one of these is made anew, whenever it was stored; see shop/views.py.
                "tags": ["product:{slug}", "category:{category_id}"],
                "keys": ["category:{category_id}:in-stock"],
                "fragments": {
                    "front_page": [],
                    "category_page": ["{category_id}"],
                    "product_card": ["{pk}"],
                    "product_page": ["{pk}"],
                },
            },
        },
        {
            "RECEIVER": "django_signal_kit.receivers.CacheInvalidation",
            "NAME": "CategoryPages",
            "OPTIONS": {
                "models": ["shop.Category"],
                "tags": ["categories", "category:{pk}"],
                "keys": ["category:{pk}:in-stock"],
                "fragments": {"front_page": [], "category_page": ["{pk}"]},
            },
        },
        {
            "RECEIVER": "django_signal_kit.receivers.FileCleanup",
            "OPTIONS": {"models": ["shop.Product"], "fields": ["image"]},
        },
        {
            "RECEIVER": "django_signal_kit.receivers.Normalize",
            "NAME": "CleanAddresses",
            "OPTIONS": {
                "models": ["auth.User"],
                "fields": {"email": ["strip", "lower_email_domain"]},
            },
        },
        {
            "RECEIVER": "django_signal_kit.receivers.Normalize",
            "NAME": "CleanNames",
            "OPTIONS": {
                "models": ["shop.Category", "shop.Product", "shop.Tag"],
                "fields": {"name": ["collapse_spaces", "nfc"]},
            },
        },
        {
            # Whichever way goods are written, a delivery by bulk_create() too.
            "RECEIVER": "django_signal_kit.receivers.Validate",
            "OPTIONS": {"models": ["shop.Product"]},
        },
        {
            "RECEIVER": "django_signal_kit.receivers.M2MLimit",
            "NAME": "FewTags",
            "OPTIONS": {"models": ["shop.Product"], "relation": "tags", "maximum": 8},
        },
        {
            "RECEIVER": "django_signal_kit.receivers.M2MCount",
            "NAME": "ProductCount",
            "OPTIONS": {
                "models": ["shop.Tag"],
                "relation": "products",
                "field": "product_count",
            },
        },
        {
            # A tag goes with the last product that had it.
            "RECEIVER": "django_signal_kit.receivers.OrphanCleanup",
            "NAME": "UnusedTags",
            "OPTIONS": {"models": ["shop.Tag"]},
        },
        {
            # How many of a product the customer who looks at it has ordered; see views.py.
            "RECEIVER": "django_signal_kit.receivers.InitialAttributes",
            "OPTIONS": {"models": ["shop.Product"], "attributes": {"ordered": 0}},
        },
        {
            "RECEIVER": "django_signal_kit.receivers.LoginLog",
            # Whom somebody tried to be, if there is such a customer; never a password that went
            # into the wrong field.
            "OPTIONS": {"usernames": "known"},
        },
        {
            # Readers and the writer do not wait for each other, and a commit for the disk less.
            "RECEIVER": "django_signal_kit.receivers.ConnectionSetup",
            "OPTIONS": {"sqlite": {"journal_mode": "wal", "synchronous": "normal"}},
        },
        {
            # Those who look after the goods, and may not touch the customers.
            "RECEIVER": "django_signal_kit.receivers.MigrationActions",
            "OPTIONS": {
                "groups": {
                    "Clerks": ["shop.view_product", "shop.change_product", "shop.view_category"]
                },
            },
        },
        {
            # A page of the shop has no business taking half a second; see LOGGING.
            "RECEIVER": "django_signal_kit.receivers.RequestTimer",
            "OPTIONS": {"slow_after": 0.5, "server_timing": True},
        },
        {
            # In the log, since nobody is on call here; the cache is that of all processes.
            "RECEIVER": "django_signal_kit.receivers.ExceptionAlert",
            "OPTIONS": {"channels": ["log"], "cache": "default"},
        },
        {
            # A page that makes so many has a list that nobody pages, or a query in a loop.
            "RECEIVER": "django_signal_kit.receivers.InstanceMonitor",
            "OPTIONS": {"models": ["shop.*"], "limit": 5000},
        },
        {
            # A line for each order that is cancelled, and one for its lines; see LOGGING.
            "RECEIVER": "django_signal_kit.receivers.DeletionLog",
            "OPTIONS": {"models": ["shop.Order", "shop.OrderLine"], "per": "unit"},
        },
        {
            # A ready-made one, changed by subclassing. The worker sends; see TASKS.
            "RECEIVER": "shop.receivers.ShopWelcomeEmail",
            "OPTIONS": {"site_url": SHOP_URL},
        },
        {
            # Once for each order, when its status becomes this.
            "RECEIVER": "django_signal_kit.receivers.Email",
            "NAME": "OrderSent",
            "OPTIONS": {
                "models": ["shop.Order"],
                "condition": {"status": "sent"},
                "to": ["customer.email"],
                "subject_template": "shop/order_sent_subject.txt",
                "text_template": "shop/order_sent.txt",
                "site_url": SHOP_URL,
            },
        },
        # Those of shop/signals.py and shop/extensions.py are found without being listed here.
    ],
    # Counted for the page "Signals", which may mute what keeps no record.
    "COUNTERS": True,
    "ADMIN_MUTING": True,
}

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR / "db.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# What need not be done while somebody waits is a row of this database, in the transaction that
# asks for it, until a worker has done it: python manage.py db_worker
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

CACHES = {
    "default": {
        # In files, so that a shell beside the running server sees the same cache.
        "BACKEND": "shop.caching.FileCache",
        "LOCATION": VAR / "cache",
        "TIMEOUT": 3600,
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    }
}

# Mail is written into files, to be looked at.
OUTBOX = VAR / "outbox"
DEFAULT_FROM_EMAIL = "Ferrum & Fig <hello@shop.example>"
if django.VERSION >= (6, 1):
    MAILERS = {
        "default": {
            "BACKEND": "django.core.mail.backends.filebased.EmailBackend",
            "OPTIONS": {"file_path": OUTBOX},
        }
    }
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = OUTBOX

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "who": {"format": "{asctime} {message} by {actor}", "style": "{"},
        "when": {"format": "{asctime} {message}", "style": "{"},
    },
    "handlers": {
        "deletions": {
            # Opened by the first line, and anew if the demo has deleted it.
            "class": "logging.handlers.WatchedFileHandler",
            "filename": VAR / "deletions.log",
            "encoding": "utf-8",
            "delay": True,
            "formatter": "who",
        },
        "requests": {
            "class": "logging.handlers.WatchedFileHandler",
            "filename": VAR / "requests.log",
            "encoding": "utf-8",
            "delay": True,
            "formatter": "when",
        },
    },
    "loggers": {
        "django_signal_kit.deletions": {"handlers": ["deletions"], "level": "INFO"},
        # Who signs up waits for the hash of the password, as long as it takes.
        "django_signal_kit.requests": {"handlers": ["requests"]},
    },
}

# The shop shows its errors, since DEBUG is True, so nobody has to be told of them.
SILENCED_SYSTEM_CHECKS = ["signal_kit.I001"]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "front"
LOGOUT_REDIRECT_URL = "front"

STATIC_URL = "static/"
MEDIA_URL = "media/"
MEDIA_ROOT = VAR / "media"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
