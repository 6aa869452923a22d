using System.Diagnostics;
using System.Text.Json.Nodes;
using Edge.Core.Edged.Images;
using Edge.Core.Edged.Lifecycle;
using Edge.Core.Edged.Spec;
using Edge.Core.Edged.Volumes;
using Edge.Kubernetes;
using Edge.Protocol.Cri.V1;
using Edge.Protocol.Grpc;
using Edge.Protocol.Messages;

namespace Edge.Core.Edged;

/// <summary>Starts a pod's sandbox and containers: image, environment, mounts, create, start. One at a time for one pod.</summary>
internal sealed class ContainerStarter(PodContext context, PodVolumes volumes, HookRunner hooks, ContainerStopper stopper, ReportEvent report)
{
    // A kubelet looks at a pod's volumes about once a minute.
    private static readonly TimeSpan s_retry = TimeSpan.FromMinutes(1);

    /// <summary>Ends with EdgeCore. What makes sandboxes and containers is not given up when the pod is to go meanwhile: containerd forgets shims of what is.</summary>
    public CancellationToken Stopping { get; set; }

    private readonly ImagePuller _images = new(context, report);

    /// <summary>When the volumes are to be made again at the latest: a token is due, or the last time failed. At once after a start of EdgeCore, since what they read may have
    /// changed meanwhile.</summary>
    public DateTimeOffset RefreshAt { get; private set; } = DateTimeOffset.MinValue;

    /// <summary>Runs a sandbox; null when it is up, else why not.</summary>
    public async Task<StartFailure?> RunSandboxAsync(PodDescription pod, uint attempt, CancellationToken cancellationToken)
    {
        try
        {
            await PrepareAsync(pod, [], isNew: true, cancellationToken);
        }
        catch (PodConfigException e)
        {
            await report(true, "FailedMount", e.Message, "", cancellationToken);
            return new StartFailure("ContainerCreating", e.Message);
        }

        PodSandboxConfig config;
        string handler;
        try
        {
            handler = RuntimeHandler(pod);
            config = SandboxConfig(pod, attempt);
        }
        catch (PodConfigException e)
        {
            await report(true, "FailedCreatePodSandBox", $"Failed to create pod sandbox: {e.Message}", "", cancellationToken);
            return new StartFailure("ContainerCreating", e.Message);
        }

        Directory.CreateDirectory(config.LogDirectory);
        context.Cgroups.Apply(pod);
        await context.Creates.WaitAsync(cancellationToken);
        try
        {
            await context.Cri.RunPodSandboxAsync(config, handler, Stopping);
            return null;
        }
        catch (GrpcException e)
        {
            var message = $"Failed to create pod sandbox: rpc error: code = {e.Code} desc = {e.Detail}";
            await report(true, "FailedCreatePodSandBox", message, "", cancellationToken);
            return new StartFailure("ContainerCreating", message);
        }
        finally
        {
            context.Creates.Release();
        }
    }

    // From what is stored here, so that it goes on without the cloud; a class that comes later wakes the pod.
    private string RuntimeHandler(PodDescription pod)
    {
        if (pod.RuntimeClass.Length == 0)
            return "";
        if (context.Meta.Get(ResourceTypes.RuntimeClass, ResourcePath.ClusterScope, pod.RuntimeClass) is not { } stored)
            throw new PodConfigException($"runtimeclass.node.k8s.io \"{pod.RuntimeClass}\" not found");
        return JsonNode.Parse(stored.Json.Span)!.AsObject().Text("handler");
    }

    /// <summary>Makes or refreshes the pod's volumes; ConfigMaps and Secrets that are not stored here are asked of the cloud.</summary>
    /// <param name="isNew">Whether the pod is about to get its sandbox.</param>
    /// <exception cref="PodConfigException">A volume cannot be made.</exception>
    public async Task PrepareAsync(PodDescription pod, IReadOnlyList<string> podIps, bool isNew, CancellationToken cancellationToken)
    {
        foreach (var (type, name) in pod.References().Distinct())
        {
            if (context.Meta.Get(type, pod.Namespace, name) is null)
                await context.Meta.GetOrQueryAsync(type, pod.Namespace, name, cancellationToken);
        }

        RefreshAt = context.Time.GetUtcNow() + s_retry;
        var input = await InputAsync(pod, podIps, isNew, cancellationToken);
        volumes.Prepare(pod, input);
        RefreshAt = input.Tokens.Values.Select(token => token.RefreshAt).Append(DateTimeOffset.MaxValue).Min();
    }

    /// <summary>Starts a container; null when it runs, else why not.</summary>
    public async Task<StartFailure?> StartAsync(
        PodDescription pod, PodAction.StartContainer action, PodSnapshot snapshot, CancellationToken cancellationToken)
    {
        var container = action.Container;
        var (image, failure) = await _images.EnsureAsync(pod, container, cancellationToken);
        if (failure is not null)
            return failure;
        var podIps = pod.HostNetwork ? [context.HostIp] : snapshot.Ready!.Ips;
        ContainerConfig config;
        try
        {
            await PrepareAsync(pod, podIps, isNew: false, cancellationToken);
            PodSecurity.CheckUser(pod, container, image!);
            var environment = PodEnvironment.Resolve(pod, container, Find(pod), context.HostIp, podIps, context.Allocatable, InCluster.Environment(pod, context.InCluster()));
            config = CriConfigs.Container(
                pod, container, action.Attempt, image!, environment, Resources.Of(pod, container, context.MachineMemory, context.NegativeOomScore, context.HugePageSizes, context.Cgroups.IsV2, context.Cgroups.HasSwapLimit(pod)), context.Options, context.NodeName);
            if (container.TargetName.Length > 0)
                config.Linux.SecurityContext.NamespaceOptions = PodSecurity.Targeting(config.Linux.SecurityContext.NamespaceOptions, Target(container, snapshot));
            AddMounts(pod, container, action.Attempt, environment.ToDictionary(StringComparer.Ordinal), podIps, config);
        }
        catch (PodConfigException e)
        {
            await report(true, "Failed", $"Error: {e.Message}", container.FieldPath, cancellationToken);
            return new StartFailure("CreateContainerConfigError", e.Message);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            await report(true, "Failed", $"Error: {e.Message}", container.FieldPath, cancellationToken);
            return new StartFailure("CreateContainerError", e.Message);
        }

        var (id, notRun) = await CreateAsync(pod, action, config, cancellationToken);
        return notRun ?? await PostStartAsync(pod, action, id, podIps, cancellationToken);
    }

    private static string Target(ContainerDescription container, PodSnapshot snapshot)
        => snapshot.Newest(container.TargetName) is { Phase: ContainerPhase.Running } target
            ? target.Id
            : throw new PodConfigException($"unable to find target container {container.TargetName}: it does not run");

    private async Task<VolumeInput> InputAsync(PodDescription pod, IReadOnlyList<string> podIps, bool isNew, CancellationToken cancellationToken)
    {
        var tokens = new Dictionary<JsonObject, TokenAnswer>(ReferenceEqualityComparer.Instance);
        foreach (var projection in VolumeFiles.TokenProjections(pod))
        {
            var answer = tokens[projection] = await context.Tokens.GetAsync(pod, projection, cancellationToken);
            if (answer is { Token: not null, Problem.Length: > 0 })
                await report(true, "FailedMount", $"MountVolume.SetUp failed for a service account token: {answer.Problem}", "", cancellationToken);
        }

        var claims = await context.Claims.ResolveAsync(pod, isNew, cancellationToken);
        return new VolumeInput(Find(pod), context.HostIp, podIps) { Allocatable = context.Allocatable, IsNew = isNew, Tokens = tokens, Claims = claims, ClusterAuthority = context.InCluster()?.AuthorityPem ?? "" };
    }

    private FindObject Find(PodDescription pod) => (type, name)
        => context.Meta.Get(type, pod.Namespace, name) is { } found ? JsonNode.Parse(found.Json.Span) as JsonObject : null;

    private PodSandboxConfig SandboxConfig(PodDescription pod, uint attempt)
        => CriConfigs.Sandbox(pod, attempt, context.Options, context.NodeName, File.Exists("/etc/resolv.conf") ? File.ReadLines("/etc/resolv.conf") : []);

    private async Task<(string Id, StartFailure? Failure)> CreateAsync(PodDescription pod, PodAction.StartContainer action, ContainerConfig config, CancellationToken cancellationToken)
    {
        var container = action.Container;
        await context.Creates.WaitAsync(cancellationToken);
        try
        {
            string id;
            try
            {
                Directory.CreateDirectory(Path.Combine(CriConfigs.LogDirectory(context.Options, pod), container.Name));
                id = await context.Cri.CreateContainerAsync(action.SandboxId, config, SandboxConfig(pod, 0), Stopping);
                await report(false, "Created", $"Created container: {container.Name}", container.FieldPath, cancellationToken);
            }
            catch (Exception e) when (e is GrpcException or IOException)
            {
                var message = e is GrpcException grpc ? grpc.Detail : e.Message;
                await report(true, "Failed", $"Error: {message}", container.FieldPath, cancellationToken);
                return ("", new StartFailure("CreateContainerError", message));
            }

            try
            {
                await context.Cri.StartContainerAsync(id, Stopping);
            }
            catch (GrpcException e)
            {
                // The runtime keeps it as exited (StartError): the next decision sees an end like any other and backs off.
                await report(true, "Failed", $"Error: {e.Detail}", container.FieldPath, cancellationToken);
                return (id, new StartFailure("RunContainerError", e.Detail));
            }

            await report(false, "Started", $"Started container {container.Name}", container.FieldPath, cancellationToken);
            return (id, null);
        }
        finally
        {
            context.Creates.Release();
        }
    }

    // Outside the bound on creates: a hook may take its time, and must not hold up other pods.
    private async Task<StartFailure?> PostStartAsync(
        PodDescription pod, PodAction.StartContainer action, string id, IReadOnlyList<string> podIps, CancellationToken cancellationToken)
    {
        var container = action.Container;
        if (container.Json.At("lifecycle", "postStart") is not { } hook
            || await hooks.RunAsync(container, id, hook, podIps.Count > 0 ? podIps[0] : "", cancellationToken) is not { } error)
            return null;
        EdgedLog.HookFailed(context.Log, "postStart", container.Name, $"{pod.Namespace}/{pod.Name}", error);
        await report(true, "FailedPostStartHook", "PostStartHook failed", container.FieldPath, cancellationToken);
        var now = context.Time.GetUtcNow();
        var view = new ContainerView(id, action.SandboxId, container.Name, action.Attempt, ContainerPhase.Running, now, now, default, 0, "", "", container.Image, "");
        var stop = new PodAction.StopContainer(view, pod.Grace, "FailedPostStartHook");
        await stopper.StopAsync(pod, stop, Task.CompletedTask, podIps.Count > 0 ? podIps[0] : "", cancellationToken);
        return new StartFailure("PostStartHookError", "PostStartHook failed");
    }

    private void AddMounts(
        PodDescription pod, ContainerDescription container, uint attempt, Dictionary<string, string> environment, IReadOnlyList<string> podIps, ContainerConfig config)
    {
        foreach (var (index, mount) in container.Json.Items("volumeMounts").Index())
        {
            config.Mounts.Add(new Mount
            {
                ContainerPath = mount.Text("mountPath") is { Length: > 0 } path && path[0] != '/' ? "/" + path : mount.Text("mountPath"),
                HostPath = volumes.PathOf(container, index, mount, text => PodEnvironment.Expand(text, environment)),
                Readonly = mount.Flag(false, "readOnly") || volumes.IsReadOnly(mount.Text("name")),
                Propagation = mount.Text("mountPropagation") switch
                {
                    "Bidirectional" => MountPropagation.PropagationBidirectional,
                    "HostToContainer" => MountPropagation.PropagationHostToContainer,
                    _ => MountPropagation.PropagationPrivate,
                },
            });
        }

        if (config.Mounts.All(mount => mount.ContainerPath != "/etc/hosts"))
        {
            var hostFile = pod.HostNetwork && File.Exists("/etc/hosts") ? File.ReadAllText("/etc/hosts") : "";
            config.Mounts.Add(new Mount { ContainerPath = "/etc/hosts", HostPath = volumes.WriteHosts(PodNames.Hosts(pod, context.Options, podIps, hostFile)) });
        }

        var message = container.Json.Text("terminationMessagePath") is { Length: > 0 } set ? set : "/dev/termination-log";
        if (config.Mounts.All(mount => mount.ContainerPath != message))
            config.Mounts.Add(new Mount { ContainerPath = message, HostPath = volumes.MakeTerminationFile(container.Name, attempt) });
        Debug.Assert(config.Mounts.All(mount => mount.HostPath.Length > 0), "every mount has a source");
    }
}
