"""Rows that point to each other, and rows that count who points to them."""

from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models


class Topic(models.Model):
    name = models.CharField(max_length=100, default="")
    article_count = models.IntegerField(default=0)

    def __str__(self):
        return self.name


class TopicProxy(Topic):
    class Meta:
        proxy = True


class Chapter(models.Model):
    """A parent that may be left without children."""

    name = models.CharField(max_length=100, default="")
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True)


class Article(models.Model):
    title = models.CharField(max_length=100, default="")
    chapter = models.ForeignKey(Chapter, models.SET_NULL, null=True, blank=True)
    topics = models.ManyToManyField(Topic, related_name="articles", blank=True)
    topic_count = models.IntegerField(null=True)

    def __str__(self):
        return self.title


class LongArticle(Article):
    """A multi-table child."""

    pages = models.IntegerField(default=0)


class Team(models.Model):
    code = models.CharField(max_length=10, unique=True)
    player_count = models.IntegerField(default=0)


class Player(models.Model):
    name = models.CharField(max_length=100, default="")
    teams = models.ManyToManyField(Team, through="Contract", related_name="players")
    team_count = models.IntegerField(default=0)
    follows = models.ManyToManyField("self", symmetrical=False, related_name="followers")
    follow_count = models.IntegerField(default=0)
    follower_count = models.IntegerField(default=0)
    friends = models.ManyToManyField("self")
    friend_count = models.IntegerField(default=0)
    meeting_count = models.IntegerField(default=0)


class Contract(models.Model):
    """A through model that names its team by another field than the key."""

    team = models.ForeignKey(Team, models.CASCADE, to_field="code")
    player = models.ForeignKey(Player, models.SET_NULL, null=True)
    salary = models.IntegerField(default=0)


class Meeting(models.Model):
    """Two relations with one through model."""

    guests = models.ManyToManyField(
        Player, through="Seat", through_fields=("meeting", "guest"), related_name="meetings"
    )
    hosts = models.ManyToManyField(
        Player, through="Seat", through_fields=("meeting", "host"), related_name="+"
    )
    guest_count = models.IntegerField(default=0)


class Seat(models.Model):
    meeting = models.ForeignKey(Meeting, models.CASCADE)
    guest = models.ForeignKey(Player, models.CASCADE, related_name="+")
    host = models.ForeignKey(Player, models.SET_NULL, null=True, related_name="+")

    class Meta:
        unique_together = [("meeting", "guest")]


class Remark(models.Model):
    """About any row, which may be gone."""

    text = models.CharField(max_length=100, default="")
    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.CharField(max_length=50)
    target = GenericForeignKey()


class Guarded(models.Model):
    """May not lose what it points to."""

    topic = models.ForeignKey(Topic, models.PROTECT, null=True)
