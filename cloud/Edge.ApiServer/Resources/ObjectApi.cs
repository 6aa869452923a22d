using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.ApiServer.Admission;
using Edge.ApiServer.Crd;
using Edge.ApiServer.Patching;
using Edge.ApiServer.Patching.Apply;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Schema;
using Edge.ApiServer.Storage;
using Edge.Common.Text;
using Edge.Kubernetes;

namespace Edge.ApiServer.Resources;

/// <summary>Create, update, patch and delete, with Kubernetes' rules, on top of the store. Safe for concurrent calls.</summary>
internal sealed class ObjectApi(ObjectStore store, ResourceRegistry registry, TimeProvider time, Random random, ClusterAddresses addresses)
{
    /// <summary>How often a change is tried again when another writer was first.</summary>
    private const int AttemptsMax = 64;

    private static readonly ImmutableHashSet<string> s_immortalNamespaces = ["default", "kube-system", "kube-public"];

    public ObjectStore Store => store;

    /// <summary>Judges writes; set once, before the first one.</summary>
    public AdmissionChain? Admission { get; set; }

    public StoredObject Get(ServedResource resource, string @namespace, string name)
        => store.Get(resource.Id, @namespace, name) ?? throw ApiException.NotFound(resource, name);

    /// <summary>Creates the object; <paramref name="obj"/> may be changed and is not to be used afterwards.</summary>
    public async Task<StoredObject> CreateAsync(ServedResource resource, string @namespace, JsonObject obj, WriteOptions options, CancellationToken cancellationToken)
    {
        CheckEnvelope(resource, obj);
        CheckTyped(resource, obj);
        if (obj.Namespace() is { Length: > 0 } given && given != @namespace)
            throw ApiException.BadRequest("the namespace of the provided object does not match the namespace sent on the request");
        var generate = obj.Name().Length == 0 ? obj.Text("metadata", "generateName") : "";
        CheckNamespace(resource, @namespace, obj.Name());
        if (resource.Terminating)
            throw new ApiException(405, "MethodNotAllowed", "create not allowed while custom resource definition is terminating");
        for (var attempt = 0; ; attempt++)
        {
            if (generate.Length > 0)
                obj.Child("metadata")["name"] = NewName(generate);
            // Without a name to try again with there is one attempt, and the tree is the caller's no longer.
            var next = generate.Length > 0 ? obj.DeepClone().AsObject() : obj;
            if (!options.IsApply)
                next.Child("metadata").Remove("managedFields");
            PriorityAdmission.OnCreate(resource, next, store);
            RuntimeClassAdmission.OnCreate(resource, next, store);
            ObjectStrategy.PrepareCreate(resource, next, @namespace, Guid.NewGuid().ToString(), time.GetUtcNow(), options);
            ServiceAccountAdmission.OnCreate(resource, next, store, NewName);
            StorageAdmission.OnCreate(resource, next, store);
            if (resource.Kind == ResourceKind.Service)
                ServiceAddresses.OnCreate(next);
            Admission?.Default(resource, next, options.User);
            Check(resource, next, null);
            Admission?.OnCreate(resource, next, options.User);
            CheckDepth(next);
            var name = next.Name();
            if (store.Get(resource.Id, @namespace, name) is not null)
            {
                if (generate.Length > 0 && attempt < AttemptsMax)
                    continue;
                throw ApiException.AlreadyExists(resource, name);
            }

            var isCounted = Admission?.Quotas.Reserve(resource, next, null, options.DryRun) == true;
            if (options.DryRun)
                return Preview(resource, next, 0);
            var stored = isCounted ? await StoreCountedAsync(next, () => CreateStoredAsync(resource, next, cancellationToken), cancellationToken) : await CreateStoredAsync(resource, next, cancellationToken);
            if (stored is not null)
                return stored;
            if (generate.Length == 0 || attempt >= AttemptsMax)
                throw ApiException.AlreadyExists(resource, name);
        }
    }

    private ValueTask<StoredObject?> CreateStoredAsync(ServedResource resource, JsonObject next, CancellationToken cancellationToken)
        => resource.Kind == ResourceKind.Service ? new(CreateServiceAsync(resource, next, cancellationToken)) : store.CreateAsync(resource.Id, next, cancellationToken, resource.Custom?.Schema);

    /// <summary>A write that a quota counts: the reservation goes with a failed one, and the status of the quotas shows a good one before it is answered.</summary>
    private async Task<StoredObject?> StoreCountedAsync(JsonObject obj, Func<ValueTask<StoredObject?>> write, CancellationToken cancellationToken)
    {
        StoredObject? stored = null;
        try
        {
            stored = await write();
        }
        finally
        {
            if (stored is null)
                Admission!.Quotas.Release(obj.Namespace(), obj.Uid());
        }

        try
        {
            if (stored is not null)
                await Admission!.Quotas.SettleAsync(obj.Namespace(), cancellationToken);
        }
        catch (Exception e) when (e is ApiException or Common.Storage.StoreException)
        {
            // The object is stored; the ledger's own round tells why the status is not, and writes it later.
        }

        return stored;
    }

    // The addresses are the service's from before it is stored, so that two at once never get the same ones.
    private async Task<StoredObject?> CreateServiceAsync(ServedResource resource, JsonObject service, CancellationToken cancellationToken)
    {
        StoredObject? stored = null;
        Assign(resource, service);
        try
        {
            return stored = await store.CreateAsync(resource.Id, service, cancellationToken);
        }
        finally
        {
            if (stored is null)
                addresses.Release(service.Uid());
        }
    }

    private void Assign(ServedResource resource, JsonObject service)
    {
        if (addresses.Assign(service) is { } fault)
            throw ApiException.Invalid(resource, service.Name(), [fault]);
    }

    /// <summary>PUT of the object, or of its <paramref name="subresource"/> <c>status</c>.</summary>
    public async Task<(StoredObject Object, bool Created)> UpdateAsync(
        ServedResource resource, string @namespace, string name, string subresource, JsonObject obj, WriteOptions options, CancellationToken cancellationToken)
    {
        CheckEnvelope(resource, obj);
        CheckTyped(resource, obj);
        if (obj.Name() != name)
            throw ApiException.BadRequest(obj.Name().Length == 0 ? "name must be provided" : $"the name of the object ({obj.Name()}) does not match the name on the URL ({name})");
        if (obj.Namespace() is { Length: > 0 } given && given != @namespace)
            throw ApiException.BadRequest($"the namespace of the object ({given}) does not match the namespace on the request ({@namespace})");
        if (resource.CreateOnUpdate && subresource.Length == 0 && store.Get(resource.Id, @namespace, name) is null)
        {
            if (obj.ResourceVersion() is not ("" or "0"))
                throw ApiException.NotFound(resource, name);
            return (await CreateAsync(resource, @namespace, obj, options, cancellationToken), true);
        }

        var version = obj.ResourceVersion();
        var updated = await ChangeAsync(
            resource, @namespace, name, subresource,
            current =>
            {
                if (version is "" or "0")
                {
                    if (!resource.UnconditionalUpdate)
                        throw ApiException.Invalid(resource, name, [new("FieldValueInvalid", "metadata.resourceVersion", "Invalid value: 0x0: must be specified for an update")]);
                }
                else if (version != Text(current.Version))
                {
                    throw ApiException.Modified(resource, name);
                }

                if (obj.Uid() is { Length: > 0 } uid && uid != current.Uid)
                    throw ApiException.Conflict(resource, name, $"Precondition failed: UID in precondition: {uid}, UID in object meta: {current.Uid}");
                return obj.DeepClone().AsObject();
            },
            options, cancellationToken);
        return (updated, false);
    }

    /// <summary>Changes the newest state; <paramref name="change"/> gets that state and may run again when another writer was first.
    /// A result that still carries a different resourceVersion is a conflict.</summary>
    public Task<StoredObject> PatchAsync(
        ServedResource resource, string @namespace, string name, string subresource, Func<JsonObject, JsonObject> change, WriteOptions options, CancellationToken cancellationToken)
        => ChangeAsync(
            resource, @namespace, name, subresource,
            current =>
            {
                var tree = resource.Custom is null ? current.Parse() : current.ParseAs(resource.Kind.ApiVersion);
                var wanted = change(tree);
                CheckMeant(resource, current, wanted);
                return wanted;
            },
            options, cancellationToken);

    /// <summary>As <see cref="PatchAsync(ServedResource, string, string, string, Func{JsonObject, JsonObject}, WriteOptions, CancellationToken)"/>, at less cost for what is
    /// written most: the status of a custom resource by a merge patch.</summary>
    public async Task<StoredObject> PatchAsync(
        ServedResource resource, string @namespace, string name, string subresource, ObjectPatch patch, WriteOptions options, CancellationToken cancellationToken)
    {
        using var merge = subresource == "status" && resource.Custom is not null && patch.Merge is { } text ? StatusMerge.TryRead(text) : null;
        for (var attempt = 0; merge is not null && attempt < AttemptsMax; attempt++)
        {
            var current = Get(resource, @namespace, name);
            if (!StatusMerge.Serves(resource, current, options))
                break;
            CheckMeant(resource, current, merge.RootElement);
            if (StatusMerge.Apply(resource, current, merge.RootElement) is not { } json)
                break;
            if (json.MayBe(current) && JsonNode.DeepEquals(current.Parse(), StoredObject.Parse(json.At(current.Version))))
                return current; // nothing changes: no write, no event
            if (await store.ReplaceAsync(current, json, cancellationToken, resource.Custom!.Schema, isStatusAlone: true) is { } stored)
                return stored;
        }

        return await PatchAsync(resource, @namespace, name, subresource, patch.Apply, options, cancellationToken);
    }

    /// <summary>Server-side apply of <paramref name="config"/>, which makes the object where there is none.</summary>
    /// <exception cref="ApiException">409 when another manager owns a field with another value, unless <paramref name="force"/>.</exception>
    public async Task<(StoredObject Object, bool Created)> ApplyAsync(
        ServedResource resource, string @namespace, string name, string subresource, JsonObject config, bool force, WriteOptions options, CancellationToken cancellationToken)
    {
        CheckEnvelope(resource, config);
        if (config.Kind().Length == 0 || config.ApiVersion().Length == 0)
            throw ApiException.BadRequest("invalid object type: apiVersion and kind must be set in an applied configuration");
        if (config.Name() is { Length: > 0 } named && named != name)
            throw ApiException.BadRequest($"the name of the object ({named}) does not match the name on the URL ({name})");
        if (config.Namespace() is { Length: > 0 } given && given != @namespace)
            throw ApiException.BadRequest($"the namespace of the object ({given}) does not match the namespace on the request ({@namespace})");
        if (config.At("metadata", "managedFields") is not null)
            throw ApiException.BadRequest("metadata.managedFields must be nil");
        config.Child("metadata")["name"] = name;
        for (var attempt = 0; ; attempt++)
        {
            if (store.Get(resource.Id, @namespace, name) is null)
            {
                if (subresource.Length > 0 || config.Uid().Length > 0)
                    throw ApiException.NotFound(resource, name);
                try
                {
                    var made = ServerSideApply.Apply(resource, null, config, options.FieldManager, subresource, force, time.GetUtcNow());
                    return (await CreateAsync(resource, @namespace, made, options, cancellationToken), true);
                }
                catch (ApiException e) when (e.Reason == "AlreadyExists" && attempt < AttemptsMax)
                {
                    continue; // made by another in between: apply to that
                }
            }

            var stored = await PatchAsync(
                resource, @namespace, name, subresource,
                tree => ServerSideApply.Apply(resource, tree, config, options.FieldManager, subresource, force, time.GetUtcNow()), options, cancellationToken);
            return (stored, false);
        }
    }

    /// <summary>Changes the newest state as the server itself: nothing is kept from the old state, nothing is defaulted or validated.</summary>
    public Task<StoredObject> ChangeAsServerAsync(ServedResource resource, string @namespace, string name, Func<JsonObject, JsonObject> change, bool dryRun, CancellationToken cancellationToken)
        => RetryAsync(resource, @namespace, name, current => (current.Parse(), change(current.Parse())), isJudged: false, dryRun, cancellationToken);

    /// <summary>Deletes, or begins to. <c>Gone</c> tells which.</summary>
    public async Task<(StoredObject Object, bool Gone)> DeleteAsync(ServedResource resource, string @namespace, string name, DeleteOptions options, CancellationToken cancellationToken)
    {
        if (resource.Kind == ResourceKind.Namespace && s_immortalNamespaces.Contains(name))
            throw ApiException.Forbidden(resource, name, "this namespace may not be deleted");
        for (var attempt = 0; attempt < AttemptsMax; attempt++)
        {
            var current = Get(resource, @namespace, name);
            if (options.PreconditionUid.Length > 0 && options.PreconditionUid != current.Uid)
                throw ApiException.Conflict(resource, name, $"Precondition failed: UID in precondition: {options.PreconditionUid}, UID in object meta: {current.Uid}");
            if (options.PreconditionVersion.Length > 0 && options.PreconditionVersion != Text(current.Version))
                throw ApiException.Conflict(resource, name, $"Precondition failed: ResourceVersion in precondition: {options.PreconditionVersion}, ResourceVersion in object meta: {current.Version}");
            var next = current.Parse();
            if (!Deletion.Step(resource, next, options, time.GetUtcNow()))
                return (current, false);
            var gone = ObjectStrategy.MayGo(resource, next);
            if (options.DryRun)
                return (Preview(resource, next, current.Version), gone);
            var stored = gone ? await store.DeleteAsync(current, next, cancellationToken) : await store.ReplaceAsync(current, next, cancellationToken);
            if (stored is not null)
                return (stored, gone);
        }

        throw ApiException.Modified(resource, name);
    }

    private Task<StoredObject> ChangeAsync(
        ServedResource resource, string @namespace, string name, string subresource, Func<StoredObject, JsonObject> change, WriteOptions options, CancellationToken cancellationToken)
        => RetryAsync(
            resource, @namespace, name,
            current =>
            {
                var old = current.Parse();
                var wanted = change(current);
                var managed = (JsonArray?)ManagedFields.Of(wanted)?.DeepClone();
                var isStatusAlone = ObjectStrategy.IsStatusAlone(resource, current, subresource);
                var next = isStatusAlone ? ObjectStrategy.PrepareStatus(resource, wanted, current, options) : ObjectStrategy.PrepareUpdate(resource, wanted, old, subresource, options);
                if (!options.IsApply)
                    managed = ManagedFields.AfterUpdate(resource, old, next, ManagedFields.Meant(old, managed, subresource), subresource, options.FieldManager, time.GetUtcNow());
                if (managed is { Count: > 0 })
                    next.Child("metadata")["managedFields"] = managed;
                else
                    next.Child("metadata").Remove("managedFields");
                if (isStatusAlone)
                {
                    if (resource.Custom!.Schema.ValidateStatus(next, old) is { Count: > 0 } errors)
                        throw ApiException.Invalid(resource, name, errors);
                    return (old, next);
                }

                if (resource.Kind == ResourceKind.Service)
                    ServiceAddresses.OnUpdate(next, old);
                Check(resource, next, old, subresource);
                Admission?.OnUpdate(resource, next, old, subresource, options.User);
                if (resource.Kind == ResourceKind.Service && !options.DryRun)
                    Assign(resource, next);
                PriorityAdmission.OnUpdate(resource, next, store);
                StorageAdmission.OnUpdate(resource, next, old, subresource, store);
                return (old, next);
            },
            isJudged: subresource.Length == 0, options.DryRun, cancellationToken, resource.Custom?.Schema);

    private async Task<StoredObject> RetryAsync(
        ServedResource resource, string @namespace, string name, Func<StoredObject, (JsonObject Old, JsonObject Next)> change, bool isJudged, bool dryRun, CancellationToken cancellationToken,
        object? judgedBy = null)
    {
        for (var attempt = 0; attempt < AttemptsMax; attempt++)
        {
            var current = Get(resource, @namespace, name);
            var (old, next) = change(current);
            next.Child("metadata")["resourceVersion"] = Text(current.Version);
            if (JsonNode.DeepEquals(old, next))
                return current; // nothing changes: no write, no event
            CheckDepth(next);
            var isGoing = ObjectStrategy.MayGo(resource, next);
            var isCounted = !isGoing && isJudged && Admission?.Quotas.Reserve(resource, next, old, dryRun) == true;
            if (dryRun)
                return Preview(resource, next, current.Version);
            var stored = isCounted ? await StoreCountedAsync(next, () => store.ReplaceAsync(current, next, cancellationToken, judgedBy), cancellationToken)
                : isGoing ? await store.DeleteAsync(current, next, cancellationToken)
                : await store.ReplaceAsync(current, next, cancellationToken, judgedBy);
            if (stored is not null)
                return stored;
        }

        throw ApiException.Modified(resource, name);
    }

    /// <summary>Refuses an invalid state; a valid CustomResourceDefinition gets its status.</summary>
    private void Check(ServedResource resource, JsonObject next, JsonObject? old, string subresource = "")
    {
        var errors = ObjectStrategy.Validate(resource, next, old, subresource);
        if (resource.Kind == ResourceKind.CustomResourceDefinition)
        {
            if (CustomResource.TryParse(next, out var definition, out var faults) && errors.Count == 0)
            {
                CrdStatus.Set(next, definition, registry.NameConflict(definition), time.GetUtcNow());
                return;
            }

            errors.AddRange(faults.Where(fault => !errors.Contains(fault)));
        }

        if (errors.Count > 0)
            throw ApiException.Invalid(resource, next.Name(), errors);
    }

    /// <summary>Refuses what could be stored and never again be sent, whatever way it came in.</summary>
    private static void CheckDepth(JsonObject obj)
    {
        if (JsonDepth.Exceeds(obj, RequestBody.DepthMax))
            throw ApiException.BadRequest($"the object is nested deeper than {RequestBody.DepthMax} levels");
    }

    /// <summary>Refuses what means another state or another object than the current one.</summary>
    private static void CheckMeant(ServedResource resource, StoredObject current, JsonObject wanted)
    {
        CheckMeant(resource, current, wanted.ResourceVersion(), wanted.Name(), wanted.Uid());
        CheckEnvelope(resource, wanted);
    }

    /// <summary>As <see cref="CheckMeant(ServedResource, StoredObject, JsonObject)"/>, of a part of an object: what it does not name is the current one's.</summary>
    private static void CheckMeant(ServedResource resource, StoredObject current, JsonElement part)
    {
        if (part.TryGetProperty("metadata"u8, out var metadata))
        {
            var name = Text(metadata, "name"u8);
            CheckMeant(resource, current, Text(metadata, "resourceVersion"u8), name.Length > 0 ? name : current.Name, Text(metadata, "uid"u8));
        }

        CheckEnvelope(resource, Text(part, "kind"u8), Text(part, "apiVersion"u8));

        static string Text(JsonElement obj, ReadOnlySpan<byte> member) => obj.TryGetProperty(member, out var text) ? text.GetString()! : "";
    }

    private static void CheckMeant(ServedResource resource, StoredObject current, string version, string name, string uid)
    {
        if (version.Length > 0 && version != Text(current.Version))
            throw ApiException.Modified(resource, current.Name);
        if (name != current.Name)
            throw ApiException.BadRequest($"the name of the object ({name}) does not match the name on the URL ({current.Name})");
        if (uid.Length > 0 && uid != current.Uid)
            throw ApiException.Conflict(resource, current.Name, $"Precondition failed: UID in precondition: {uid}, UID in object meta: {current.Uid}");
    }

    private static void CheckEnvelope(ServedResource resource, JsonObject obj)
    {
        CheckEnvelope(resource, obj.Kind(), obj.ApiVersion());
        if (obj["metadata"] is not (null or JsonObject))
            throw ApiException.BadRequest($"{resource.Kind.Kind} in version \"{resource.Kind.Version}\" cannot be handled as a {resource.Kind.Kind}: metadata must be an object");
    }

    private static void CheckEnvelope(ServedResource resource, string kind, string apiVersion)
    {
        if (kind.Length > 0 && kind != resource.Kind.Kind)
            throw ApiException.BadRequest($"{kind} in version \"{apiVersion}\" cannot be handled as a {resource.Kind.Kind}: the kind in the data ({kind}) does not match the resource ({resource.Kind.Kind})");
        if (apiVersion.Length > 0 && apiVersion != resource.Kind.ApiVersion)
            throw ApiException.BadRequest($"the API version in the data ({apiVersion}) does not match the expected API version ({resource.Kind.ApiVersion})");
    }

    // As with kube-apiserver: what a built-in object leaves out follows from the URL, and a custom resource's body says it itself.
    private static void CheckTyped(ServedResource resource, JsonObject obj)
    {
        if (resource.Custom is null)
            return;
        var missing = obj.Kind().Length == 0 ? "Kind" : obj.ApiVersion().Length == 0 ? "apiVersion" : "";
        if (missing.Length > 0)
            throw ApiException.BadRequest($"{resource.Kind.Kind} in version \"{resource.Kind.Version}\" cannot be handled as a {resource.Kind.Kind}: Object '{missing}' is missing");
    }

    private void CheckNamespace(ServedResource resource, string @namespace, string name)
    {
        if (!resource.Kind.Namespaced)
            return;
        var stored = store.Get(BuiltinResources.Namespaces.Id, "", @namespace) ?? throw ApiException.NamespaceNotFound(@namespace);
        if (stored.Field("metadata.deletionTimestamp").Length > 0)
            throw ApiException.Forbidden(
                resource, name, $"unable to create new content in namespace {@namespace} because it is being terminated",
                new JsonArray(new JsonObject { ["reason"] = "NamespaceTerminating", ["message"] = $"namespace {@namespace} is being terminated", ["field"] = "metadata.namespace" }));
    }

    private string NewName(string prefix)
    {
        lock (random)
            return ObjectStrategy.GenerateName(prefix, random);
    }

    /// <summary>The state that a dry run would have stored.</summary>
    private static StoredObject Preview(ServedResource resource, JsonObject obj, long version)
        => new(resource.Id, obj.Namespace(), obj.Name(), obj.Uid(), version, version > 0 ? ObjectJson.Serialize(obj).At(version) : ObjectJson.Bytes(obj));

    private static string Text(long version) => version.ToString(CultureInfo.InvariantCulture);
}
