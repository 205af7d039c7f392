"""The pages. What is costly in them is cached in the templates, and dropped by receivers."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.db.models import Count, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse_lazy
from django.views.generic import DetailView, FormView, ListView, TemplateView

from shop.caching import cache_page, note_fragment, remember
from shop.forms import SignUpForm
from shop.models import Category, Product, Tag


class FrontPage(TemplateView):
    template_name = "shop/front.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        # Querysets are lazy: with the fragment in the cache nobody asks them.
        return super().get_context_data(
            categories=Category.objects.annotate(count=Count("products")),
            latest=Product.objects.order_by("-updated_at", "-pk")[:8],
            **kwargs,
        )


class ProductList(ListView):
    template_name = "shop/products.html"
    paginate_by = 24

    def get_queryset(self) -> QuerySet[Product]:
        self.query = self.request.GET.get("q", "").strip()
        products = Product.objects.all()
        if self.query:
            products = products.filter(
                Q(name__icontains=self.query) | Q(description__icontains=self.query)
            )
        return products

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(query=self.query, **kwargs)


class ProductPage(DetailView):
    template_name = "shop/product.html"
    queryset = Product.objects.select_related("category")

    def get_object(self, queryset: QuerySet[Product] | None = None) -> Product:
        product = super().get_object(queryset)
        if self.request.user.is_authenticated:
            lines = product.lines.filter(order__customer=self.request.user)
            product.ordered = lines.aggregate(sum=Sum("quantity", default=0))["sum"]
        return product

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        tags = note_fragment("product_page", [f"product:{self.object.slug}"])
        return super().get_context_data(product_tags=tags, **kwargs)


# The page names its category, too.
show_product = cache_page(["product:{slug}", "categories"])(ProductPage.as_view())


class CategoryPage(DetailView):
    template_name = "shop/category.html"
    model = Category

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        tags = [f"category:{self.object.pk}"]
        in_stock = remember(
            f"category:{self.object.pk}:in-stock",
            lambda: self.object.products.filter(stock__gt=0).count(),
            tags=tags,
        )
        note_fragment("category_page", tags)
        return super().get_context_data(in_stock=in_stock, category_tags=tags, **kwargs)


@cache_page(["product:{slug}", "categories"])
def tell_product(request: HttpRequest, slug: str) -> HttpResponse:
    """The product for other programs. Who has it already is answered with 304."""
    product = get_object_or_404(Product.objects.select_related("category"), slug=slug)
    return JsonResponse(
        {
            "sku": product.sku,
            "name": product.name,
            "category": product.category.name,
            "price": str(product.price),
            "stock": product.stock,
            "tags": [tag.name for tag in product.tags.all()],
        }
    )


class TagPage(DetailView):
    template_name = "shop/tag.html"
    model = Tag


class SignUp(FormView):
    template_name = "shop/sign_up.html"
    form_class = SignUpForm
    success_url = reverse_lazy("front")

    def form_valid(self, form: SignUpForm) -> HttpResponse:
        user = form.save()
        login(self.request, user)
        messages.success(self.request, f"Welcome, {user.get_username()}. A mail is on its way.")
        messages.info(
            self.request,
            f"What sends it is: python example_project/manage.py db_worker. Then it lies in "
            f"{settings.OUTBOX}.",
        )
        return super().form_valid(form)
