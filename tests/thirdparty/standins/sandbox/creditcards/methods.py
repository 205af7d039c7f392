"""Two cards to pay with, which the tests of django-oscar-api-checkout import by this name.

The project is distributed without them. One wants two forms to be posted, the other one call of a
script in the browser; either may be denied.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.urls import path, reverse
from oscar.core.loading import get_model
from oscarapicheckout.methods import PaymentMethod, PaymentMethodSerializer
from oscarapicheckout.states import (
    ClientSidePaymentRequired,
    Complete,
    Declined,
    FormPostRequired,
)
from oscarapicheckout.utils import update_payment_method_state
from rest_framework.response import Response
from rest_framework.views import APIView


class CreditCard(PaymentMethod):
    name = "Credit Card"
    code = "credit-card"
    serializer_class = PaymentMethodSerializer

    def _record_payment(
        self, request: Any, order: Any, method_key: str, amount: Any, reference: str, **kwargs: Any
    ) -> Any:
        return ask_for("get-token", order, method_key, amount)

    def record_successful_authorization(self, order: Any, amount: Any, reference: str) -> Any:
        source = self.get_source(order, reference)
        source.allocate(amount, reference)
        event = self.make_authorize_event(order, amount, reference)
        for line in order.lines.all():
            self.make_event_quantity(event, line, line.quantity)
        return Complete(amount, source_id=source.pk)


class ClientSideCard(CreditCard):
    name = "Client-Side Card"
    code = "client-side-card"

    def _record_payment(
        self, request: Any, order: Any, method_key: str, amount: Any, reference: str, **kwargs: Any
    ) -> Any:
        data = {"order": order.pk, "method_key": method_key, "amount": str(amount)}
        data["reference_number"] = str(order.number)
        return ClientSidePaymentRequired(amount, "sandbox-processor", data)


def ask_for(step: str, order: Any, method_key: str, amount: Any) -> FormPostRequired:
    fields = {"order": order.pk, "method_key": method_key, "amount": amount}
    pairs = [{"key": key, "value": str(value)} for key, value in fields.items()]
    return FormPostRequired(amount, step, reverse(step), fields=pairs)


class Step(APIView):
    """What the payment processor calls, or has called by the browser."""

    method: Any = None
    then = ""

    def post(self, request: Any) -> Response:
        order = get_model("order", "Order").objects.get(pk=request.data["order"])
        key, amount = request.data["method_key"], Decimal(request.data["amount"])
        reference = request.data.get("uuid") or request.data.get("result_token")
        if "deny" in request.data:
            # A processor that has given the payment a number has it on its books.
            source = CreditCard().get_source(order, reference) if reference else None
            state: Any = Declined(amount, source_id=getattr(source, "pk", None))
        elif self.then:
            state = ask_for(self.then, order, key, amount)
        else:
            state = self.method().record_successful_authorization(order, amount, reference)
        update_payment_method_state(order, request, key, state)
        return Response({"status": "Declined" if isinstance(state, Declined) else "Success"})


urlpatterns = [
    path("get-token/", Step.as_view(then="authorize"), name="get-token"),
    path("authorize/", Step.as_view(method=CreditCard), name="authorize"),
    path("clientside/", Step.as_view(method=ClientSideCard), name="clientside-complete"),
]
