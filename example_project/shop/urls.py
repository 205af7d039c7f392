from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from shop import views

urlpatterns = [
    path("", views.FrontPage.as_view(), name="front"),
    path("products/", views.ProductList.as_view(), name="products"),
    path("product/<slug:slug>/", views.show_product, name="product"),
    path("api/product/<slug:slug>/", views.tell_product, name="product_api"),
    path("category/<slug:slug>/", views.CategoryPage.as_view(), name="category"),
    path("tag/<slug:slug>/", views.TagPage.as_view(), name="tag"),
    path("sign-up/", views.SignUp.as_view(), name="sign_up"),
    path("log-in/", LoginView.as_view(template_name="shop/log_in.html"), name="login"),
    path("log-out/", LogoutView.as_view(), name="logout"),
]
