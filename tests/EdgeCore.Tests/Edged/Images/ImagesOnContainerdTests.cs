using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local.Images;
using Edge.Testing;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>Images of a registry that wants a user, pulled by real containerd.</summary>
[Collection("containerd-2")]
[Trait("Category", "Pods")]
public sealed class ImagesOnContainerdTests(ContainerdFixture containerd)
{
    [SkippableFact]
    public async Task An_image_of_a_private_registry_is_pulled_with_the_pods_Secrets_the_longest_path_first()
    {
        await using var registry = await StartAsync();
        registry.Users["team/app"] = "team:s3cret";
        registry.Users["team/second"] = "later:s3cret2";
        await using var edged = containerd.Run("node-pull");
        edged.Meta.Put("secret", Secret("generic", (registry.Host, "host", "wrong"), (registry.Host + "/team", "team", "s3cret")));
        edged.Meta.Put("secret", Secret("more", (registry.Host + "/team/second", "nobody", "wrong"), (registry.Host, "later", "s3cret2")));
        var app = Pod("app", registry.Host + "/team/app:1", "generic");
        var second = Pod("second", registry.Host + "/team/second:1", "generic", "more");
        using var client = containerd.Client();
        edged.Meta.Put("pod", app);
        await edged.StatusAsync(app, "running", PodsOnContainerdTests.IsReady);
        Assert.Contains("team/app team", registry.Seen);
        Assert.DoesNotContain("team/app host", registry.Seen);

        // The right one is the last of three: nobody, team and host fail before.
        edged.Meta.Put("pod", second);
        await edged.StatusAsync(second, "running", PodsOnContainerdTests.IsReady);
        Assert.Equal(["nobody", "team", "host", "later"], registry.Seen.Where(line => line.StartsWith("team/second ", StringComparison.Ordinal)).Select(line => line.Split(' ')[1]).Where(user => user != "-").Distinct());
        await GoneAsync(edged, client, app, second);
    }

    [SkippableFact]
    public async Task Without_the_right_Secret_the_pull_fails_backs_off_and_tells_no_password()
    {
        await using var registry = await StartAsync();
        registry.Users["team/app"] = "team:s3cret";
        await using var edged = containerd.Run("node-nopull");
        edged.Meta.Put("secret", Secret("bad", (registry.Host, "team", "hunter2")));
        var none = Pod("none", registry.Host + "/team/app:1");
        var absent = Pod("absent", registry.Host + "/team/app:1", "not-there");
        var wrong = Pod("wrong", registry.Host + "/team/app:1", "bad");
        foreach (var pod in (JsonObject[])[none, absent, wrong])
            edged.Meta.Put("pod", pod);
        foreach (var pod in (JsonObject[])[none, absent, wrong])
        {
            await edged.StatusAsync(pod, "ErrImagePull", status => PodsOnContainerdTests.Reason(status) == "ErrImagePull");
            await edged.StatusAsync(pod, "ImagePullBackOff", status => PodsOnContainerdTests.Reason(status) == "ImagePullBackOff");
        }

        await edged.EventAsync("FailedToRetrieveImagePullSecret", "Unable to retrieve some image pull secrets (not-there); attempting to pull the image may not succeed.");
        await edged.EventAsync("Failed", "Error: ErrImagePull");
        await edged.EventAsync("BackOff", $"Back-off pulling image \"{registry.Host}/team/app:1\"");
        Assert.Contains("team/app -", registry.Seen);
        Assert.Contains("team/app team", registry.Seen);
        Assert.DoesNotContain(edged.Uplink.Entries, entry => Encoding.UTF8.GetString(entry.Content.Span).Contains("hunter2", StringComparison.Ordinal));

        // The Secret is mended: the next try takes it.
        edged.Meta.Put("secret", Secret("bad", (registry.Host, "team", "s3cret")));
        await edged.StatusAsync(wrong, "running after the Secret was mended", PodsOnContainerdTests.IsReady);
        using var client = containerd.Client();
        await GoneAsync(edged, client, none, absent, wrong);
    }

    [SkippableFact]
    public async Task Pull_policies_and_bad_names_have_a_kubelets_reasons()
    {
        await using var registry = await StartAsync();
        registry.Users["app"] = "u:p";
        await using var edged = containerd.Run("node-policy");
        edged.Meta.Put("secret", Secret("cred", (registry.Host, "u", "p")));
        var invalid = Pod("invalid", "docker.io/Edge/Busybox:1.0");
        var never = Pod("never", registry.Host + "/app:never");
        never["spec"]!["containers"]![0]!["imagePullPolicy"] = "Never";
        edged.Meta.Put("pod", invalid);
        edged.Meta.Put("pod", never);
        var status = await edged.StatusAsync(invalid, "InvalidImageName", state => PodsOnContainerdTests.Reason(state) == "InvalidImageName");
        Assert.Contains("repository name (Edge/Busybox) must be lowercase", status.Items("containerStatuses").Single().Text("state", "waiting", "message"), StringComparison.Ordinal);
        await edged.StatusAsync(never, "ErrImageNeverPull", state => PodsOnContainerdTests.Reason(state) == "ErrImageNeverPull");
        Assert.Empty(registry.Seen);

        // IfNotPresent asks once for an image, Always each time.
        using var client = containerd.Client();
        var first = Pod("first", registry.Host + "/app:1", "cred");
        edged.Meta.Put("pod", first);
        await edged.StatusAsync(first, "running", PodsOnContainerdTests.IsReady);
        var asked = registry.Seen.Count;
        var present = Pod("present", registry.Host + "/app:1");
        edged.Meta.Put("pod", present);
        await edged.StatusAsync(present, "running", PodsOnContainerdTests.IsReady);
        Assert.Equal(asked, registry.Seen.Count);
        await edged.EventAsync("Pulled", $"Container image \"{registry.Host}/app:1\" already present on machine");
        var always = Pod("always", registry.Host + "/app:1", "cred");
        always["spec"]!["containers"]![0]!["imagePullPolicy"] = "Always";
        edged.Meta.Put("pod", always);
        await edged.StatusAsync(always, "running", PodsOnContainerdTests.IsReady);
        Assert.True(registry.Seen.Count > asked);
        await GoneAsync(edged, client, invalid, never, first, present, always);
    }

    private static Task<PrivateRegistry> StartAsync()
        => PrivateRegistry.StartAsync(OciImage.Create("r.example/app:1").AddBusybox(Local.Images.Busybox.Find(), ["sh", "sleep"]));

    private static async Task GoneAsync(RunningEdged edged, Protocol.Cri.CriClient client, params JsonObject[] pods)
    {
        foreach (var pod in pods)
            edged.Meta.Delete("pod", pod);
        foreach (var pod in pods)
            await PodsOnContainerdTests.UntilAsync($"{pod.Name()} is gone", async () => (await PodsOnContainerdTests.SandboxesAsync(client, pod.Uid())).Count == 0);
    }

    private static JsonObject Pod(string name, string image, params string[] secrets)
    {
        var pod = PodsOnContainerdTests.Pod(name, """{"terminationGracePeriodSeconds":1,"containers":[{"name":"main","command":["sleep","1000"]}]}""");
        pod["spec"]!["containers"]![0]!["image"] = image;
        pod["spec"]!["imagePullSecrets"] = new JsonArray([.. secrets.Select(secret => new JsonObject { ["name"] = secret })]);
        return pod;
    }

    private static JsonObject Secret(string name, params (string Registry, string User, string Password)[] entries)
    {
        var auths = new JsonObject();
        foreach (var (registry, user, password) in entries)
            auths[registry] = new JsonObject { ["auth"] = Convert.ToBase64String(Encoding.UTF8.GetBytes($"{user}:{password}")) };
        var secret = PodsOnContainerdTests.Object(name, """{"type":"kubernetes.io/dockerconfigjson"}""");
        secret["data"] = new JsonObject { [".dockerconfigjson"] = Convert.ToBase64String(Encoding.UTF8.GetBytes(new JsonObject { ["auths"] = auths }.ToJsonString())) };
        return secret;
    }
}
