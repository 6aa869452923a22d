using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>The rules of a pod's spec.</summary>
internal static class PodRules
{
    public static void Check(JsonObject pod, List<FieldError> errors)
    {
        if (pod["spec"] is not JsonObject spec)
        {
            errors.Add(Errors.Required("spec"));
            return;
        }

        var volumes = CheckVolumes(spec, errors);
        var names = new HashSet<string>();
        if (!spec.Items("containers").Any())
            errors.Add(Errors.Required("spec.containers"));
        foreach (var list in (string[])["initContainers", "containers", "ephemeralContainers"])
        {
            var i = 0;
            foreach (var container in spec.Items(list))
            {
                var at = $"spec.{list}[{i++}]";
                CheckContainer(container, at, names, volumes, errors);
                foreach (var probe in list == "initContainers" && container.Text("restartPolicy") != "Always" ? (string[])["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"] : [])
                {
                    if (container[probe] is not null)
                        errors.Add(Errors.Forbidden($"{at}.{probe}", "may not be set for init containers without restartPolicy=Always"));
                }
            }
        }

        OneOf(spec, "restartPolicy", "spec", errors, "Always", "OnFailure", "Never");
        OneOf(spec, "dnsPolicy", "spec", errors, "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None");
        OneOf(spec, "preemptionPolicy", "spec", errors, "PreemptLowerPriority", "Never");
        if (spec.Text("dnsPolicy") == "None" && !spec["dnsConfig"].Texts("nameservers").Any())
            errors.Add(Errors.Required("spec.dnsConfig.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None"));
        if (spec.Number(0, "terminationGracePeriodSeconds") is < 0 and not -1 and var grace)
            errors.Add(Errors.Invalid("spec.terminationGracePeriodSeconds", JsonValue.Create(grace), "must be greater than or equal to 0"));
        if (spec.Number(1, "activeDeadlineSeconds") is < 1 or > int.MaxValue)
            errors.Add(Errors.Invalid("spec.activeDeadlineSeconds", spec["activeDeadlineSeconds"], "must be between 1 and 2147483647, inclusive"));
        if (spec["nodeSelector"] is JsonObject selector)
            Names.Labels(selector, "spec.nodeSelector", errors);
        Name(spec, "nodeName", "spec", Names.DnsSubdomain, errors);
        Name(spec, "serviceAccountName", "spec", Names.DnsSubdomain, errors);
        Name(spec, "hostname", "spec", Names.DnsLabel, errors);
        Name(spec, "subdomain", "spec", Names.DnsLabel, errors);
        CheckTolerations(spec, "spec", errors);
        PlacementRules.Check(spec, errors);
        EphemeralRules.Check(spec, errors);
        CheckHostPorts(spec, errors);
        if (spec["securityContext"].Flag(false, "runAsNonRoot") && spec["securityContext"].Number(1, "runAsUser") == 0)
            errors.Add(Errors.Invalid("spec.securityContext.runAsUser", JsonValue.Create(0), "may not be 0 when `runAsNonRoot` is true"));
        var k = 0;
        foreach (var alias in spec.Items("hostAliases"))
        {
            if (!System.Net.IPAddress.TryParse(alias.Text("ip"), out _))
                errors.Add(Errors.Invalid($"spec.hostAliases[{k}].ip", alias.Text("ip"), "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
            k++;
        }
    }

    private static HashSet<string> CheckVolumes(JsonObject spec, List<FieldError> errors)
    {
        var names = new HashSet<string>();
        var i = 0;
        foreach (var volume in spec.Items("volumes"))
        {
            var at = $"spec.volumes[{i++}]";
            var name = volume.Text("name");
            if (name.Length == 0)
                errors.Add(Errors.Required($"{at}.name"));
            else if (Names.DnsLabel(name) is { } fault)
                errors.Add(Errors.Invalid($"{at}.name", name, fault));
            else if (!names.Add(name))
                errors.Add(Errors.Duplicate($"{at}.name", name));
            var sources = volume.Where(pair => pair.Key != "name").Select(pair => pair.Key).ToList();
            if (sources.Count == 0)
                errors.Add(Errors.Required(at, "must specify a volume type"));
            foreach (var extra in sources.Skip(1))
                errors.Add(Errors.Forbidden($"{at}.{extra}", "may not specify more than 1 volume type"));
            Needs(volume["configMap"], "name", $"{at}.configMap", errors);
            Needs(volume["secret"], "secretName", $"{at}.secret", errors);
            Needs(volume["hostPath"], "path", $"{at}.hostPath", errors);
            Needs(volume["persistentVolumeClaim"], "claimName", $"{at}.persistentVolumeClaim", errors);
            if (volume["hostPath"] is JsonObject host)
            {
                OneOf(host, "type", $"{at}.hostPath", errors, "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket");
                if (host.Text("path").Split('/').Contains(".."))
                    errors.Add(Errors.Invalid($"{at}.hostPath.path", host.Text("path"), "must not contain '..'"));
            }

            if (volume["ephemeral"] is JsonObject ephemeral)
            {
                if (ephemeral.At("volumeClaimTemplate", "spec") is JsonObject claim)
                    ClaimRules.CheckSpec(claim, $"{at}.ephemeral.volumeClaimTemplate.spec", errors);
                else
                    errors.Add(Errors.Required($"{at}.ephemeral.volumeClaimTemplate"));
            }

            foreach (var source in (string[])["configMap", "secret", "projected", "downwardAPI"])
                CheckFiles(volume[source], $"{at}.{source}", errors);
        }

        return names;
    }

    private static void CheckFiles(JsonNode? source, string at, List<FieldError> errors)
    {
        if (source.Number(0, "defaultMode") is < 0 or > 511)
            errors.Add(Errors.Invalid($"{at}.defaultMode", source.At("defaultMode"), "must be a number between 0 and 0777 (octal), both inclusive"));
        var i = 0;
        foreach (var item in source.Items("items"))
        {
            var path = item.Text("path");
            var itemAt = $"{at}.items[{i++}]";
            if (path.Length == 0)
                errors.Add(Errors.Required($"{itemAt}.path"));
            else if (path.StartsWith('/'))
                errors.Add(Errors.Invalid($"{itemAt}.path", path, "must be a relative path"));
            else if (path.Split('/').Contains(".."))
                errors.Add(Errors.Invalid($"{itemAt}.path", path, "must not contain '..'"));
        }
    }

    private static void CheckContainer(JsonObject container, string at, HashSet<string> names, HashSet<string> volumes, List<FieldError> errors)
    {
        var name = container.Text("name");
        if (name.Length == 0)
            errors.Add(Errors.Required($"{at}.name"));
        else if (Names.DnsLabel(name) is { } fault)
            errors.Add(Errors.Invalid($"{at}.name", name, fault));
        else if (!names.Add(name))
            errors.Add(Errors.Duplicate($"{at}.name", name));
        var image = container.Text("image");
        if (image.Length == 0)
            errors.Add(Errors.Required($"{at}.image"));
        else if (image.Trim() != image)
            errors.Add(Errors.Invalid($"{at}.image", image, "must not have leading or trailing whitespace"));
        OneOf(container, "imagePullPolicy", at, errors, "Always", "IfNotPresent", "Never");
        OneOf(container, "terminationMessagePolicy", at, errors, "File", "FallbackToLogsOnError");
        CheckPorts(container, at, errors);
        CheckEnvironment(container, at, errors);
        var paths = new HashSet<string>();
        var i = 0;
        foreach (var mount in container.Items("volumeMounts"))
        {
            var mountAt = $"{at}.volumeMounts[{i++}]";
            Needs(mount, "name", mountAt, errors);
            Needs(mount, "mountPath", mountAt, errors);
            if (mount.Text("name") is { Length: > 0 } volume && !volumes.Contains(volume))
                errors.Add(Errors.NotFound($"{mountAt}.name", volume));
            if (mount.Text("mountPath") is { Length: > 0 } path && !paths.Add(path))
                errors.Add(Errors.Invalid($"{mountAt}.mountPath", path, "must be unique"));
            if (mount.Text("subPath") is { Length: > 0 } sub && (sub[0] == '/' || sub.Split('/').Contains("..")))
                errors.Add(Errors.Invalid($"{mountAt}.subPath", sub, sub[0] == '/' ? "must be a relative path" : "must not contain '..'"));
        }

        CheckResources(container, at, errors);
        foreach (var probe in (string[])["livenessProbe", "readinessProbe", "startupProbe"])
            CheckProbe(container[probe] as JsonObject, probe, $"{at}.{probe}", errors);
    }

    private static void CheckPorts(JsonObject container, string at, List<FieldError> errors)
    {
        var names = new HashSet<string>();
        var i = 0;
        foreach (var port in container.Items("ports"))
        {
            var portAt = $"{at}.ports[{i++}]";
            if (port.Text("name") is { Length: > 0 } name)
            {
                if (Names.PortName(name) is { } fault)
                    errors.Add(Errors.Invalid($"{portAt}.name", name, fault));
                else if (!names.Add(name))
                    errors.Add(Errors.Duplicate($"{portAt}.name", name));
            }

            if (port["containerPort"] is null)
                errors.Add(Errors.Required($"{portAt}.containerPort"));
            else if (Names.PortNumber(port.Number(0, "containerPort")) is { } fault)
                errors.Add(Errors.Invalid($"{portAt}.containerPort", port["containerPort"], fault));
            if (port.Number(0, "hostPort") is not 0 and var host && Names.PortNumber(host) is { } hostFault)
                errors.Add(Errors.Invalid($"{portAt}.hostPort", port["hostPort"], hostFault));
            OneOf(port, "protocol", portAt, errors, "SCTP", "TCP", "UDP");
        }
    }

    private static void CheckHostPorts(JsonObject spec, List<FieldError> errors)
    {
        var seen = new HashSet<(long, string, string)>();
        var i = 0;
        foreach (var container in spec.Items("containers"))
        {
            var j = 0;
            foreach (var port in container.Items("ports"))
            {
                var at = $"spec.containers[{i}].ports[{j++}]";
                var host = port.Number(0, "hostPort");
                if (host == 0)
                    continue;
                if (!seen.Add((host, port.Text("protocol"), port.Text("hostIP"))))
                    errors.Add(Errors.Duplicate($"{at}.hostPort", $"{port.Text("protocol")}/{port.Text("hostIP")}/{host}"));
                if (spec.Flag(false, "hostNetwork") && host != port.Number(0, "containerPort"))
                    errors.Add(Errors.Invalid($"{at}.containerPort", port["containerPort"], "must match `hostPort` when `hostNetwork` is true"));
            }

            i++;
        }
    }

    private static void CheckEnvironment(JsonObject container, string at, List<FieldError> errors)
    {
        var i = 0;
        foreach (var variable in container.Items("env"))
        {
            var envAt = $"{at}.env[{i++}]";
            var name = variable.Text("name");
            if (name.Length == 0)
                errors.Add(Errors.Required($"{envAt}.name"));
            else if (Names.EnvName(name) is { } fault)
                errors.Add(Errors.Invalid($"{envAt}.name", name, fault));
            if (variable["valueFrom"] is not JsonObject from)
                continue;
            if (variable.Text("value").Length > 0)
                errors.Add(Errors.Invalid($"{envAt}.valueFrom", from, "may not be specified when `value` is not empty"));
            if (from.Count != 1)
                errors.Add(Errors.Invalid($"{envAt}.valueFrom", from, from.Count == 0 ? "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`" : "may not have more than one field specified at a time"));
            foreach (var source in (string[])["configMapKeyRef", "secretKeyRef"])
            {
                Needs(from[source], "name", $"{envAt}.valueFrom.{source}", errors);
                Needs(from[source], "key", $"{envAt}.valueFrom.{source}", errors);
            }

            Needs(from["fieldRef"], "fieldPath", $"{envAt}.valueFrom.fieldRef", errors);
            Needs(from["resourceFieldRef"], "resource", $"{envAt}.valueFrom.resourceFieldRef", errors);
        }

        var k = 0;
        foreach (var source in container.Items("envFrom"))
        {
            var fromAt = $"{at}.envFrom[{k++}]";
            if (source["configMapRef"] is null == source["secretRef"] is null)
                errors.Add(Errors.Invalid(fromAt, source, source["secretRef"] is null ? "must specify one of: `configMapRef` or `secretRef`" : "may not have more than one field specified at a time"));
            Needs(source["configMapRef"], "name", $"{fromAt}.configMapRef", errors);
            Needs(source["secretRef"], "name", $"{fromAt}.secretRef", errors);
        }
    }

    private static void CheckResources(JsonObject container, string at, List<FieldError> errors)
    {
        foreach (var side in (string[])["limits", "requests"])
        {
            foreach (var (key, value) in container.At("resources", side) as JsonObject ?? [])
            {
                var valueAt = $"{at}.resources.{side}[{key}]";
                if (Names.Qualified(key) is { } fault)
                    errors.Add(Errors.Invalid(valueAt, key, fault));
                if (!Quantity.TryParse(value, out var amount))
                    continue;
                if (amount < 0)
                    errors.Add(Errors.Invalid(valueAt, value, "must be greater than or equal to 0"));
                if (side == "requests" && Quantity.TryParse(container.At("resources", "limits", key), out var limit) && amount > limit)
                    errors.Add(Errors.Invalid($"{at}.resources.requests", value, $"must be less than or equal to {key} limit of {container.At("resources", "limits", key)}"));
            }
        }
    }

    private static void CheckProbe(JsonObject? probe, string kind, string at, List<FieldError> errors)
    {
        if (probe is null)
            return;
        var handlers = ((string[])["exec", "httpGet", "tcpSocket", "grpc"]).Where(key => probe[key] is not null).ToList();
        if (handlers.Count == 0)
            errors.Add(Errors.Required(at, "must specify a handler type"));
        foreach (var extra in handlers.Skip(1))
            errors.Add(Errors.Forbidden($"{at}.{extra}", "may not specify more than 1 handler type"));
        if (probe["exec"] is not null && !probe["exec"].Texts("command").Any())
            errors.Add(Errors.Required($"{at}.exec.command"));
        foreach (var handler in (string[])["httpGet", "tcpSocket", "grpc"])
        {
            if (probe[handler] is not JsonObject target)
                continue;
            var fault = target["port"] is JsonValue value && value.TryGetValue<string>(out var text) ? Names.PortName(text) : Names.PortNumber(target.Number(0, "port"));
            if (fault is not null)
                errors.Add(Errors.Invalid($"{at}.{handler}.port", target["port"], fault));
        }

        foreach (var (key, min) in (ReadOnlySpan<(string, int)>)[("initialDelaySeconds", 0), ("timeoutSeconds", 1), ("periodSeconds", 1), ("successThreshold", 1), ("failureThreshold", 1)])
        {
            if (probe.Number(min, key) < min)
                errors.Add(Errors.Invalid($"{at}.{key}", probe[key], $"must be greater than or equal to {min}"));
        }

        if (kind != "readinessProbe" && probe.Number(1, "successThreshold") != 1)
            errors.Add(Errors.Invalid($"{at}.successThreshold", probe["successThreshold"], "must be 1"));
    }

    /// <param name="at">Where the tolerations are, for messages.</param>
    internal static void CheckTolerations(JsonObject spec, string at, List<FieldError> errors)
    {
        var i = 0;
        foreach (var toleration in spec.Items("tolerations"))
        {
            Check(toleration, $"{at}.tolerations[{i++}]", errors);
        }

        static void Check(JsonObject toleration, string at, List<FieldError> errors)
        {
            var (key, op) = (toleration.Text("key"), toleration.Text("operator"));
            if (key.Length > 0 && Names.Qualified(key) is { } fault)
                errors.Add(Errors.Invalid($"{at}.key", key, fault));
            if (key.Length == 0 && op != "Exists")
                errors.Add(Errors.Invalid($"{at}.operator", op, "operator must be Exists when `key` is empty, which means \"match all values and all keys\""));
            OneOf(toleration, "operator", at, errors, "", "Equal", "Exists");
            OneOf(toleration, "effect", at, errors, "", "NoSchedule", "PreferNoSchedule", "NoExecute");
            if (op == "Exists" && toleration.Text("value").Length > 0)
                errors.Add(Errors.Invalid($"{at}.operator", op, "value must be empty when `operator` is 'Exists'"));
            if (toleration["tolerationSeconds"] is not null && toleration.Text("effect") != "NoExecute")
                errors.Add(Errors.Invalid($"{at}.effect", toleration.Text("effect"), "effect must be 'NoExecute' when `tolerationSeconds` is set"));
        }
    }

    private static void OneOf(JsonObject obj, string key, string at, List<FieldError> errors, params string[] allowed)
    {
        if (obj.ContainsKey(key) && !allowed.Contains(obj.Text(key)))
            errors.Add(Errors.NotSupported($"{at}.{key}", obj.Text(key), allowed.Where(value => value.Length > 0)));
    }

    private static void Needs(JsonNode? obj, string key, string at, List<FieldError> errors)
    {
        if (obj is JsonObject && obj.Text(key).Length == 0)
            errors.Add(Errors.Required($"{at}.{key}"));
    }

    private static void Name(JsonObject obj, string key, string at, Func<string, string?> rule, List<FieldError> errors)
    {
        if (obj.Text(key) is { Length: > 0 } name && rule(name) is { } fault)
            errors.Add(Errors.Invalid($"{at}.{key}", name, fault));
    }
}
