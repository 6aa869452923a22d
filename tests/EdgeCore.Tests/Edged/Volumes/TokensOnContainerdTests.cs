using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>The volume that an API server adds to every pod (kube-api-access), on real containerd.</summary>
[Collection("containerd-2")]
[Trait("Category", "Pods")]
public sealed class TokensOnContainerdTests(ContainerdFixture containerd)
{
    private const string Access = """
        {"terminationGracePeriodSeconds":1,"serviceAccountName":"robot",
         "volumes":[{"name":"kube-api-access-x","projected":{"defaultMode":420,"sources":[
           {"serviceAccountToken":{"path":"token","expirationSeconds":3607}},
           {"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},
           {"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"fieldPath":"metadata.namespace"}}]}}]}}],
         "containers":[{"name":"main","image":"docker.io/edge/busybox:1.0","command":["sleep","1000"],
           "volumeMounts":[{"name":"kube-api-access-x","mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","readOnly":true}]}]}
        """;

    private int _given;

    [SkippableFact]
    public async Task A_pod_has_its_token_which_is_renewed_and_survives_a_restart_without_the_cloud()
    {
        var meta = new FakeMetaStore();
        meta.Put("configmap", PodsOnContainerdTests.Object("kube-root-ca.crt", """{"data":{"ca.crt":"-----BEGIN CERTIFICATE-----"}}"""));
        var pod = PodsOnContainerdTests.Pod("tokened", Access);
        using var client = containerd.Client();
        string id;
        await using (var edged = containerd.Run("node-token", meta))
        {
            // The first is due at once: four fifths of its life are over.
            edged.Uplink.Answer = request => Give(request, _given == 0 ? TimeSpan.FromSeconds(1) : TimeSpan.FromHours(1));
            meta.Put("pod", pod);
            var status = await edged.StatusAsync(pod, "running", PodsOnContainerdTests.IsReady);
            id = status.Items("containerStatuses").Single().Text("containerID")["containerd://".Length..];
            Assert.Equal("default", await ReadAsync(client, id, "namespace"));
            Assert.StartsWith("-----BEGIN", await ReadAsync(client, id, "ca.crt"), StringComparison.Ordinal);
            await PodsOnContainerdTests.UntilAsync("the second token is in the container", async () => await ReadAsync(client, id, "token") == "token-2");
            Assert.All(edged.Uplink.Requests, request => Assert.Equal(("query", "default/serviceaccounttoken/robot"), (request.Operation, request.Resource)));
        }

        await using (var offline = containerd.Run("node-token", meta))
        {
            offline.Uplink.IsConnected = false;
            await offline.StatusAsync(pod, "adopted", PodsOnContainerdTests.IsReady);
            Assert.Equal("token-2", await ReadAsync(client, id, "token"));

            // As after a reboot: nothing runs and the volume is not there; the token comes from the store.
            Directory.Delete(Path.Combine(offline.Root, "pods", pod.Uid(), "volumes"), recursive: true);
            foreach (var sandbox in await PodsOnContainerdTests.SandboxesAsync(client, pod.Uid()))
                await client.StopPodSandboxAsync(sandbox.Id, default);
            var again = await offline.StatusAsync(pod, "runs again", status => PodsOnContainerdTests.IsReady(status) && status.Items("containerStatuses").Single().Number(0, "restartCount") == 1);
            id = again.Items("containerStatuses").Single().Text("containerID")["containerd://".Length..];
            Assert.Equal("token-2", await ReadAsync(client, id, "token"));
            Assert.Empty(offline.Uplink.Requests);

            // A pod that never had one waits, and says what for.
            var stranger = PodsOnContainerdTests.Pod("stranger", Access);
            meta.Put("pod", stranger);
            await offline.EventAsync("FailedMount", "MountVolume.SetUp failed for volume \"kube-api-access-x\" : failed to fetch token: the cloud is not connected");
            Assert.Empty(await PodsOnContainerdTests.SandboxesAsync(client, stranger.Uid()));
            offline.Uplink.Answer = request => Give(request, TimeSpan.FromHours(1));
            offline.Uplink.IsConnected = true;
            await offline.StatusAsync(stranger, "runs once the cloud is back", PodsOnContainerdTests.IsReady);
            meta.Delete("pod", stranger);
            meta.Delete("pod", pod);
            await PodsOnContainerdTests.UntilAsync("both are gone", async () => (await PodsOnContainerdTests.SandboxesAsync(client, pod.Uid())).Count + (await PodsOnContainerdTests.SandboxesAsync(client, stranger.Uid())).Count == 0);
            await PodsOnContainerdTests.UntilAsync("their tokens too", () => Task.FromResult(meta.ListLocal("serviceaccounttoken").Count == 0));
        }
    }

    [SkippableFact]
    public async Task A_token_belongs_to_the_user_or_group_of_the_pod_alone()
    {
        await using var edged = containerd.Run("node-token-owner");
        edged.Uplink.Answer = request => Give(request, TimeSpan.FromHours(1));
        edged.Meta.Put("configmap", PodsOnContainerdTests.Object("kube-root-ca.crt", """{"data":{"ca.crt":"x"}}"""));
        var user = PodsOnContainerdTests.Pod("user", Access);
        user["spec"]!["securityContext"] = new JsonObject { ["runAsUser"] = 1234 };
        var group = PodsOnContainerdTests.Pod("group", Access);
        group["spec"]!["securityContext"] = new JsonObject { ["runAsUser"] = 1234, ["fsGroup"] = 4321 };
        using var client = containerd.Client();
        foreach (var pod in (JsonObject[])[user, group])
            edged.Meta.Put("pod", pod);
        foreach (var (pod, expected) in ((JsonObject, string)[])[(user, "600 1234 0"), (group, "640 1234 4321")])
        {
            var status = await edged.StatusAsync(pod, "running", PodsOnContainerdTests.IsReady);
            var id = status.Items("containerStatuses").Single().Text("containerID")["containerd://".Length..];
            var stat = await client.ExecSyncAsync(id, ["stat", "-L", "-c", "%a %u %g", "/var/run/secrets/kubernetes.io/serviceaccount/token"], TimeSpan.FromSeconds(10), default);
            Assert.Equal(expected, stat.Stdout.ToStringUtf8().Trim());
            Assert.StartsWith("token-", await ReadAsync(client, id, "token"), StringComparison.Ordinal); // as the pod's own user
        }

        foreach (var pod in (JsonObject[])[user, group])
        {
            edged.Meta.Delete("pod", pod);
            await PodsOnContainerdTests.UntilAsync("gone", async () => (await PodsOnContainerdTests.SandboxesAsync(client, pod.Uid())).Count == 0);
        }
    }

    private static async Task<string> ReadAsync(Protocol.Cri.CriClient client, string id, string file)
        => (await client.ExecSyncAsync(id, ["cat", "/var/run/secrets/kubernetes.io/serviceaccount/" + file], TimeSpan.FromSeconds(10), default)).Stdout.ToStringUtf8();

    private JsonObject Give(Message request, TimeSpan left)
    {
        var answer = (JsonObject)JsonNode.Parse(request.Content.Span)!;
        answer["status"] = new JsonObject
        {
            ["token"] = string.Create(CultureInfo.InvariantCulture, $"token-{Interlocked.Increment(ref _given)}"),
            ["expirationTimestamp"] = KubeObject.Time(TimeProvider.System.GetUtcNow() + left),
        };
        return answer;
    }
}
