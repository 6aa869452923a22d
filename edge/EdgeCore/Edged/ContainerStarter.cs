using System.Diagnostics;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Protocol.Cri.V1;
using Edge.Protocol.Grpc;

namespace Edge.Core.Edged;

/// <summary>Starts a pod's sandbox and containers: image, environment, mounts, create, start. One at a time for one pod.</summary>
internal sealed class ContainerStarter(PodContext context, PodVolumes volumes, Func<bool, string, string, string, CancellationToken, ValueTask> report)
{
    /// <summary>Runs a sandbox; null when it is up, else why not.</summary>
    public async Task<StartFailure?> RunSandboxAsync(PodDescription pod, uint attempt, CancellationToken cancellationToken)
    {
        try
        {
            await PrepareAsync(pod, [], cancellationToken);
        }
        catch (PodConfigException e)
        {
            await report(true, "FailedMount", e.Message, "", cancellationToken);
            return new StartFailure("ContainerCreating", e.Message);
        }

        var config = SandboxConfig(pod, attempt);
        Directory.CreateDirectory(config.LogDirectory);
        await context.Creates.WaitAsync(cancellationToken);
        try
        {
            await context.Cri.RunPodSandboxAsync(config, pod.Json.Text("spec", "runtimeClassName"), cancellationToken);
            return null;
        }
        catch (GrpcException e)
        {
            var message = $"Failed to create pod sandbox: {e.Message}";
            await report(true, "FailedCreatePodSandBox", message, "", cancellationToken);
            return new StartFailure("ContainerCreating", message);
        }
        finally
        {
            context.Creates.Release();
        }
    }

    /// <summary>Makes or refreshes the pod's volumes; ConfigMaps and Secrets that are not stored here are asked of the cloud.</summary>
    /// <exception cref="PodConfigException">A volume cannot be made.</exception>
    public async Task PrepareAsync(PodDescription pod, IReadOnlyList<string> podIps, CancellationToken cancellationToken)
    {
        foreach (var (type, name) in pod.References().Distinct())
        {
            if (context.Meta.Get(type, pod.Namespace, name) is null)
                await context.Meta.GetOrQueryAsync(type, pod.Namespace, name, cancellationToken);
        }

        volumes.Prepare(Find(pod), context.HostIp, podIps);
        if (volumes.TokenNote.Length > 0)
            await report(true, "ServiceAccountTokenSkipped", volumes.TokenNote, "", cancellationToken);
    }

    /// <summary>Starts a container; null when it runs, else why not.</summary>
    public async Task<StartFailure?> StartAsync(
        PodDescription pod, PodAction.StartContainer action, SandboxView sandbox, CancellationToken cancellationToken)
    {
        var container = action.Container;
        var (image, failure) = await ImageAsync(pod, container, cancellationToken);
        if (failure is not null)
            return failure;
        var podIps = pod.HostNetwork ? [context.HostIp] : sandbox.Ips;
        ContainerConfig config;
        try
        {
            await PrepareAsync(pod, podIps, cancellationToken);
            CheckUser(pod, container, image!);
            var environment = PodEnvironment.Resolve(pod, container, Find(pod), context.HostIp, podIps);
            config = CriConfigs.Container(
                pod, container, action.Attempt, image!.Id, environment, Resources.Of(pod, container, context.MachineMemory, context.NegativeOomScore), context.NodeName);
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

        return await CreateAsync(pod, action, config, cancellationToken);
    }

    /// <summary>preStop, then SIGTERM, then SIGKILL when the grace is over. preStop's time counts as grace, of which 2 s are always left.</summary>
    public async Task StopAsync(PodDescription pod, ContainerView view, TimeSpan grace, CancellationToken cancellationToken)
    {
        var started = context.Time.GetTimestamp();
        var container = pod.Containers.Concat(pod.InitContainers).FirstOrDefault(item => item.Name == view.Name);
        await report(false, "Killing", $"Stopping container {view.Name}", container?.FieldPath ?? "", cancellationToken);
        if (container?.Json.At("lifecycle", "preStop") is { } hook && grace > TimeSpan.Zero && view.Phase == ContainerPhase.Running)
        {
            if (await HookAsync(view.Id, hook, grace, cancellationToken) is { } error)
                await report(true, "FailedPreStopHook", $"PreStopHook failed: {error}", container.FieldPath, cancellationToken);
            var left = grace - context.Time.GetElapsedTime(started);
            grace = left > TimeSpan.FromSeconds(2) ? left : TimeSpan.FromSeconds(2);
        }

        await context.Cri.StopContainerAsync(view.Id, grace, cancellationToken);
    }

    private static string Text(Google.Protobuf.ByteString bytes) => bytes.ToStringUtf8().Trim() is { Length: > 200 } text ? text[..200] : bytes.ToStringUtf8().Trim();

    private FindObject Find(PodDescription pod) => (type, name)
        => context.Meta.Get(type, pod.Namespace, name) is { } found ? JsonNode.Parse(found.Json.Span) as JsonObject : null;

    private PodSandboxConfig SandboxConfig(PodDescription pod, uint attempt)
        => CriConfigs.Sandbox(pod, attempt, context.Options, context.NodeName, File.Exists("/etc/resolv.conf") ? File.ReadLines("/etc/resolv.conf") : []);

    private async Task<StartFailure?> CreateAsync(PodDescription pod, PodAction.StartContainer action, ContainerConfig config, CancellationToken cancellationToken)
    {
        var container = action.Container;
        await context.Creates.WaitAsync(cancellationToken);
        try
        {
            string id;
            try
            {
                Directory.CreateDirectory(Path.Combine(CriConfigs.LogDirectory(context.Options, pod), container.Name));
                id = await context.Cri.CreateContainerAsync(action.SandboxId, config, SandboxConfig(pod, 0), cancellationToken);
                await report(false, "Created", $"Created container: {container.Name}", container.FieldPath, cancellationToken);
            }
            catch (Exception e) when (e is GrpcException or IOException)
            {
                var message = e is GrpcException grpc ? grpc.Detail : e.Message;
                await report(true, "Failed", $"Error: {message}", container.FieldPath, cancellationToken);
                return new StartFailure("CreateContainerError", message);
            }

            try
            {
                await context.Cri.StartContainerAsync(id, cancellationToken);
            }
            catch (GrpcException e)
            {
                // The runtime keeps it as exited (StartError): the next decision sees an end like any other and backs off.
                await report(true, "Failed", $"Error: {e.Detail}", container.FieldPath, cancellationToken);
                return new StartFailure("RunContainerError", e.Detail);
            }

            await report(false, "Started", $"Started container {container.Name}", container.FieldPath, cancellationToken);
            if (container.Json.At("lifecycle", "postStart") is { } hook && await HookAsync(id, hook, TimeSpan.FromMinutes(2), cancellationToken) is { } error)
            {
                await report(true, "FailedPostStartHook", $"PostStartHook failed: {error}", container.FieldPath, cancellationToken);
                await context.Cri.StopContainerAsync(id, pod.Grace, cancellationToken);
            }

            return null;
        }
        finally
        {
            context.Creates.Release();
        }
    }

    private async Task<string?> HookAsync(string id, JsonNode hook, TimeSpan limit, CancellationToken cancellationToken)
    {
        if (hook.At("exec") is not null)
        {
            try
            {
                var result = await context.Cri.ExecSyncAsync(id, hook.Texts("exec", "command"), limit, cancellationToken);
                return result.ExitCode == 0 ? null : $"command exited with {result.ExitCode}: {Text(result.Stderr)}";
            }
            catch (GrpcException e)
            {
                return e.Detail;
            }
        }

        if (hook.At("sleep") is not null)
        {
            var wait = TimeSpan.FromSeconds(Math.Max(0, hook.Number(0, "sleep", "seconds")));
            await Task.Delay(wait < limit ? wait : limit, context.Time, cancellationToken);
            return null;
        }

        return "only exec and sleep hooks are supported";
    }

    private async Task<(Image?, StartFailure?)> ImageAsync(PodDescription pod, ContainerDescription container, CancellationToken cancellationToken)
    {
        try
        {
            var present = await context.Cri.ImageStatusAsync(container.Image, cancellationToken);
            if (present is not null && container.PullPolicy != "Always")
            {
                await report(false, "Pulled", $"Container image \"{container.Image}\" already present on machine", container.FieldPath, cancellationToken);
                return (present, null);
            }

            if (container.PullPolicy == "Never")
            {
                var missing = $"Container image \"{container.Image}\" is not present with pull policy of Never";
                await report(true, "ErrImageNeverPull", missing, container.FieldPath, cancellationToken);
                return (null, new StartFailure("ErrImageNeverPull", missing));
            }

            await report(false, "Pulling", $"Pulling image \"{container.Image}\"", container.FieldPath, cancellationToken);
            var started = context.Time.GetTimestamp();
            await context.Pulls.WaitAsync(cancellationToken);
            try
            {
                await context.Cri.PullImageAsync(container.Image, null, null, cancellationToken);
            }
            finally
            {
                context.Pulls.Release();
            }

            var took = context.Time.GetElapsedTime(started);
            await report(false, "Pulled", $"Successfully pulled image \"{container.Image}\" in {(long)took.TotalMilliseconds}ms", container.FieldPath, cancellationToken);
            return await context.Cri.ImageStatusAsync(container.Image, cancellationToken) is { } pulled
                ? (pulled, null)
                : (null, new StartFailure("ErrImagePull", $"image \"{container.Image}\" was pulled and is not there"));
        }
        catch (GrpcException e)
        {
            await report(true, "Failed", $"Failed to pull image \"{container.Image}\": {e.Detail}", container.FieldPath, cancellationToken);
            await report(true, "Failed", "Error: ErrImagePull", container.FieldPath, cancellationToken);
            return (null, new StartFailure("ErrImagePull", e.Detail));
        }
    }

    private static void CheckUser(PodDescription pod, ContainerDescription container, Image image)
    {
        var own = container.Json["securityContext"];
        var shared = pod.Json.At("spec", "securityContext");
        if (!own.Flag(shared.Flag(false, "runAsNonRoot"), "runAsNonRoot"))
            return;
        var user = own.Number(shared.Number(-1, "runAsUser"), "runAsUser");
        if (user == 0)
            throw new PodConfigException($"container's runAsUser breaks non-root policy (pod: \"{pod.Name}_{pod.Namespace}({pod.Uid})\", container: {container.Name})");
        if (user > 0 || image.Uid is { Value: > 0 })
            return;
        throw new PodConfigException(image.Username.Length > 0
            ? $"container has runAsNonRoot and image has non-numeric user ({image.Username}), cannot verify user is non-root (pod: \"{pod.Name}_{pod.Namespace}({pod.Uid})\", container: {container.Name})"
            : $"container has runAsNonRoot and image will run as root (pod: \"{pod.Name}_{pod.Namespace}({pod.Uid})\", container: {container.Name})");
    }

    private void AddMounts(
        PodDescription pod, ContainerDescription container, uint attempt, Dictionary<string, string> environment, IReadOnlyList<string> podIps, ContainerConfig config)
    {
        foreach (var mount in container.Json.Items("volumeMounts"))
        {
            config.Mounts.Add(new Mount
            {
                ContainerPath = mount.Text("mountPath") is { Length: > 0 } path && path[0] != '/' ? "/" + path : mount.Text("mountPath"),
                HostPath = volumes.PathOf(mount, text => PodEnvironment.Expand(text, environment)),
                Readonly = mount.Flag(false, "readOnly"),
                Propagation = mount.Text("mountPropagation") switch
                {
                    "Bidirectional" => MountPropagation.PropagationBidirectional,
                    "HostToContainer" => MountPropagation.PropagationHostToContainer,
                    _ => MountPropagation.PropagationPrivate,
                },
            });
        }

        if (!pod.HostNetwork && config.Mounts.All(mount => mount.ContainerPath != "/etc/hosts"))
            config.Mounts.Add(new Mount { ContainerPath = "/etc/hosts", HostPath = volumes.WriteHosts(CriConfigs.Hostname(pod), podIps) });
        var message = container.Json.Text("terminationMessagePath") is { Length: > 0 } set ? set : "/dev/termination-log";
        if (config.Mounts.All(mount => mount.ContainerPath != message))
            config.Mounts.Add(new Mount { ContainerPath = message, HostPath = volumes.MakeTerminationFile(container.Name, attempt) });
        Debug.Assert(config.Mounts.All(mount => mount.HostPath.Length > 0), "every mount has a source");
    }
}
