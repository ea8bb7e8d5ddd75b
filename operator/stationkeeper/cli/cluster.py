"""The custom resources, read and annotated through the user's kubeconfig."""

from typing import Any

from stationkeeper.api.meta import ANNOTATION_BY, GROUP, VERSION

Object = dict[str, Any]
_SECONDS = 10


class CommandError(Exception):
    """A command that cannot be done; the message says why and what to do."""


class Cluster:
    """The objects of one namespace."""

    def __init__(self, namespace: str | None, context: str | None) -> None:
        from kubernetes import client, config  # a third of a second, and 20 MB: not for the commands that know no cluster

        self._failed = client.ApiException
        try:
            config.load_kube_config(context=context)
            _, active = config.list_kube_config_contexts()
        except config.ConfigException as error:
            raise CommandError(f"no cluster: {error}; set KUBECONFIG") from error
        self.namespace = namespace or (active.get("context") or {}).get("namespace") or "default"
        self._api = client.CustomObjectsApi()

    def model(self, name: str) -> Object:
        """One Model.

        Raises:
            CommandError: when there is none, or it may not be read.
        """
        return self._call(self._api.get_namespaced_custom_object, "models", name)

    def models(self) -> list[Object]:
        """All Models of the namespace."""
        return self._items("models")

    def revisions(self, model: str) -> list[Object]:
        """The records of a model's revisions, newest first."""
        found = [revision for revision in self._items("modelrevisions") if revision["spec"]["modelName"] == model]
        return sorted(found, key=lambda revision: revision["spec"]["number"], reverse=True)

    def decide(self, name: str, annotation: str, digest: str) -> None:
        """Set an annotation that decides about a revision, and leave the name of whoever does, for the record."""
        values = {annotation: digest}
        if who := self._user():
            values[ANNOTATION_BY] = f"{who} {digest}"
        self._call(self._api.patch_namespaced_custom_object, "models", name, {"metadata": {"annotations": values}})

    def _user(self) -> str | None:
        """Who the API server takes us for; None where it does not say."""
        from kubernetes import client

        try:
            answer = client.AuthenticationV1Api().create_self_subject_review(
                client.V1SelfSubjectReview(), _request_timeout=_SECONDS
            )
        except client.ApiException:
            return None  # from Kubernetes 1.28 on everybody may ask
        user = answer.status.user_info if answer.status else None
        return (user.username or None) if user else None

    def annotate(self, name: str, annotation: str, value: str | None) -> None:
        """Set an annotation of a Model that the operator answers, or take it away."""
        body = {"metadata": {"annotations": {annotation: value}}}
        self._call(self._api.patch_namespaced_custom_object, "models", name, body)

    def _items(self, plural: str) -> list[Object]:
        items: list[Object] = self._call(self._api.list_namespaced_custom_object, plural)["items"]
        return items

    def _call(self, method: Any, plural: str, *arguments: Any) -> Object:
        try:
            result: Object = method(GROUP, VERSION, self.namespace, plural, *arguments, _request_timeout=_SECONDS)
        except self._failed as error:
            what = f"{plural[:-1]} {arguments[0]}" if arguments else plural
            reasons = {404: "not found", 403: "you may not do this", 401: "you are not logged in"}
            raise CommandError(f"{what} in namespace {self.namespace}: {reasons.get(error.status, error.reason)}") from error
        return result
