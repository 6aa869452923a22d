"""The Python client's leader election over a Lease. Arguments: kubeconfig, namespace, identity. Says when it leads, and goes on until it is killed."""
import datetime
import sys

from kubernetes import client, config
from kubernetes.client.rest import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.leaderelectionrecord import LeaderElectionRecord

config.load_kube_config(config_file=sys.argv[1])


class LeaseLock:
    """As the library's ConfigMapLock, on coordination.k8s.io/v1."""

    def __init__(self, name, namespace, identity):
        self.api = client.CoordinationV1Api()
        self.name, self.namespace, self.identity = name, namespace, identity
        self.lease = None

    def get(self, name, namespace):
        try:
            self.lease = self.api.read_namespaced_lease(name, namespace)
            spec = self.lease.spec
            return True, LeaderElectionRecord(spec.holder_identity, str(spec.lease_duration_seconds), str(spec.acquire_time), str(spec.renew_time))
        except ApiException as e:
            return False, e

    def create(self, name, namespace, election_record):
        return self.write(lambda body: self.api.create_namespaced_lease(namespace, body), election_record, client.V1ObjectMeta(name=name))

    def update(self, name, namespace, updated_record):
        return self.write(lambda body: self.api.replace_namespaced_lease(name, namespace, body), updated_record, self.lease.metadata)

    @staticmethod
    def write(send, record, metadata):
        now = datetime.datetime.now(datetime.timezone.utc)
        spec = client.V1LeaseSpec(holder_identity=record.holder_identity, lease_duration_seconds=int(float(record.lease_duration)), renew_time=now, acquire_time=now)
        try:
            send(client.V1Lease(metadata=metadata, spec=spec))
            return True
        except ApiException:
            return False


def lead():
    print("LEADING", flush=True)


lock = LeaseLock("election", sys.argv[2], sys.argv[3])
leaderelection.LeaderElection(electionconfig.Config(lock, lease_duration=5, renew_deadline=4, retry_period=1, onstarted_leading=lead, onstopped_leading=None)).run()
