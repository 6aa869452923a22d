"""What programs do with the Python client every day: list, watch, patch, create, server-side errors. Arguments: kubeconfig, namespace."""
import sys
import threading

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException

config.load_kube_config(config_file=sys.argv[1])
namespace = sys.argv[2]
core, apps, access, rbac = client.CoreV1Api(), client.AppsV1Api(), client.AuthorizationV1Api(), client.RbacAuthorizationV1Api()


def check(name, holds):
    if not holds:
        sys.exit(f"FAILED {name}")
    print(name)


check("version", client.VersionApi().get_code().git_version.startswith("v1.32"))

# Watch from the list's version, with changes made meanwhile.
version = core.list_namespaced_config_map(namespace).metadata.resource_version
seen = []


def follow():
    for event in watch.Watch().stream(core.list_namespaced_config_map, namespace, resource_version=version, timeout_seconds=60):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            return


follower = threading.Thread(target=follow)
follower.start()
core.create_namespaced_config_map(namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="m", labels={"a": "b"}), data={"k": "1"}))
patched = core.patch_namespaced_config_map("m", namespace, {"data": {"k": "2", "l": "3"}})
check("patch", patched.data == {"k": "2", "l": "3"})
core.delete_namespaced_config_map("m", namespace)
follower.join(60)
check("watch", seen == [("ADDED", "m"), ("MODIFIED", "m"), ("DELETED", "m")])

deployment = client.V1Deployment(
    metadata=client.V1ObjectMeta(name="web"),
    spec=client.V1DeploymentSpec(
        replicas=0,
        selector=client.V1LabelSelector(match_labels={"app": "web"}),
        template=client.V1PodTemplateSpec(
            metadata=client.V1ObjectMeta(labels={"app": "web"}),
            spec=client.V1PodSpec(containers=[client.V1Container(name="c", image="i", resources=client.V1ResourceRequirements(requests={"cpu": "100m"}))]),
        ),
    ),
)
created = apps.create_namespaced_deployment(namespace, deployment)
check("create deployment", created.spec.strategy.type == "RollingUpdate" and created.metadata.generation == 1)
apps.patch_namespaced_deployment_scale("web", namespace, {"spec": {"replicas": 2}})
check("scale", apps.read_namespaced_deployment_scale("web", namespace).spec.replicas == 2)
check("list by label", [d.metadata.name for d in apps.list_namespaced_deployment(namespace).items] == ["web"])

# Pages of a list.
for i in range(5):
    core.create_namespaced_secret(namespace, client.V1Secret(metadata=client.V1ObjectMeta(name=f"s{i}"), string_data={"k": "v"}))
page = core.list_namespaced_secret(namespace, limit=3)
rest = core.list_namespaced_secret(namespace, limit=3, _continue=page.metadata._continue)
check("pages", [s.metadata.name for s in page.items + rest.items] == [f"s{i}" for i in range(5)])

# Errors have the status that programs read.
try:
    core.read_namespaced_pod("none", namespace)
    check("404", False)
except ApiException as e:
    check("404", e.status == 404 and '"reason":"NotFound"' in e.body)
stale = core.read_namespaced_secret("s0", namespace)
core.patch_namespaced_secret("s0", namespace, {"metadata": {"labels": {"x": "y"}}})
try:
    core.replace_namespaced_secret("s0", namespace, stale)
    check("409", False)
except ApiException as e:
    check("409", e.status == 409)

# Roles, and the question that controllers ask.
rbac.create_namespaced_role(namespace, client.V1Role(metadata=client.V1ObjectMeta(name="r"), rules=[client.V1PolicyRule(verbs=["get"], api_groups=[""], resources=["pods"])]))
rbac.create_namespaced_role_binding(namespace, {
    "metadata": {"name": "r"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
    "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jane"}],
})


def may(user, verb):
    review = client.V1SubjectAccessReview(spec=client.V1SubjectAccessReviewSpec(
        user=user, resource_attributes=client.V1ResourceAttributes(namespace=namespace, verb=verb, resource="pods")))
    return access.create_subject_access_review(review).status.allowed


check("access review", may("jane", "get") and not may("jane", "delete") and not may("joe", "get"))

# A token for a service account, and a client that has nothing else.
core.create_namespaced_service_account(namespace, client.V1ServiceAccount(metadata=client.V1ObjectMeta(name="robot")))
token = client.ApiClient().call_api(
    f"/api/v1/namespaces/{namespace}/serviceaccounts/robot/token", "POST", body={"spec": {}}, header_params={"Content-Type": "application/json"},
    auth_settings=["BearerToken"], response_type="object")[0]["status"]["token"]
own = client.Configuration.get_default_copy()
own.cert_file = own.key_file = None
own.api_key = {"authorization": "Bearer " + token}
robot = client.CoreV1Api(client.ApiClient(own))
try:
    robot.list_namespaced_pod(namespace)
    check("403", False)
except ApiException as e:
    check("403", e.status == 403 and f"system:serviceaccount:{namespace}:robot" in e.body)
rbac.patch_namespaced_role_binding("r", namespace, {"subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": namespace}]})
rbac.patch_namespaced_role("r", namespace, {"rules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}]})
check("token", robot.list_namespaced_pod(namespace).items == [])
print("DONE")
