using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Protocol.Cri;
using Edge.Protocol.Cri.V1;
using Edge.Protocol.Grpc;
using Edge.Protocol.Messages;

namespace Edge.Core.Edged.Images;

/// <summary>Sees to it that a container's image is there, by its pull policy and with the pod's imagePullSecrets; a kubelet's reasons and events.</summary>
internal sealed class ImagePuller(PodContext context, ReportEvent report)
{
    /// <summary>The image, or why the container cannot have it: <c>InvalidImageName</c>, <c>ErrImageNeverPull</c>, <c>ErrImagePull</c>.</summary>
    public async Task<(Image? Image, StartFailure? Failure)> EnsureAsync(PodDescription pod, ContainerDescription container, CancellationToken cancellationToken)
    {
        if (!ImageName.TryRepository(container.Image, out var repository, out var error))
        {
            var message = $"Failed to apply default image tag \"{container.Image}\": couldn't parse image name \"{container.Image}\": {error}";
            await report(true, "InspectFailed", message, container.FieldPath, cancellationToken);
            await report(true, "Failed", "Error: InvalidImageName", container.FieldPath, cancellationToken);
            return (null, new StartFailure("InvalidImageName", message));
        }

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
                await report(true, "Failed", "Error: ErrImageNeverPull", container.FieldPath, cancellationToken);
                return (null, new StartFailure("ErrImageNeverPull", missing));
            }

            var keyring = await KeyringAsync(pod, cancellationToken);
            await report(false, "Pulling", $"Pulling image \"{container.Image}\"", container.FieldPath, cancellationToken);
            var started = context.Time.GetTimestamp();
            await context.Pulls.WaitAsync(cancellationToken);
            try
            {
                await PullAsync(context.Cri, container.Image, keyring.Lookup(repository), cancellationToken);
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

    /// <summary>Pulls with each credential in turn; without any, with none.</summary>
    /// <exception cref="GrpcException">None worked; what they said, each text once.</exception>
    public static async Task PullAsync(CriClient cri, string image, IReadOnlyList<RegistryCredential> credentials, CancellationToken cancellationToken)
    {
        var failures = new List<GrpcException>();
        foreach (var credential in credentials.Select(one => (RegistryCredential?)one).DefaultIfEmpty())
        {
            try
            {
                await cri.PullImageAsync(image, credential is null ? null : new AuthConfig { Username = credential.Username, Password = credential.Password }, null, cancellationToken);
                return;
            }
            catch (GrpcException e)
            {
                failures.Add(e);
            }
        }

        var texts = failures.Select(failure => failure.Detail).Distinct(StringComparer.Ordinal).ToList();
        throw texts.Count == 1 ? failures[0] : new GrpcException(failures[^1].Code, $"[{string.Join(", ", texts)}]");
    }

    private async Task<Keyring> KeyringAsync(PodDescription pod, CancellationToken cancellationToken)
    {
        var keyring = new Keyring();
        var missing = new List<string>();
        foreach (var name in pod.Json.Items("spec", "imagePullSecrets").Select(secret => secret.Text("name")).Where(name => name.Length > 0).Distinct())
        {
            if (await context.Meta.GetOrQueryAsync(ResourceTypes.Secret, pod.Namespace, name, cancellationToken) is not { } found)
                missing.Add(name);
            else if (JsonNode.Parse(found.Json.Span) is JsonObject secret && !keyring.TryAdd(secret, out var error))
                await report(true, "FailedToRetrieveImagePullSecret", $"Unable to use image pull secret {name}: {error}; its other entries are used.", "", cancellationToken);
        }

        if (missing.Count > 0)
        {
            await report(
                true, "FailedToRetrieveImagePullSecret",
                $"Unable to retrieve some image pull secrets ({string.Join(", ", missing)}); attempting to pull the image may not succeed.", "", cancellationToken);
        }

        return keyring;
    }
}
